"""What operators watch. Names carry units, as Prometheus wants; no label holds anything that a stranger chooses."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest


class Metrics:
    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.links = Gauge("auxilio_links", "Devices that have a link here.", registry=registry)
        self.legs = Gauge("auxilio_legs", "Legs that are open.", registry=registry)
        self.sessions = Gauge("auxilio_sessions", "Sessions that are not over.", registry=registry)
        self.connections = Gauge("auxilio_connections", "TCP connections, handshakes included.", registry=registry)
        self.listeners = Gauge("auxilio_event_listeners", "Streams of /v1/events.", registry=registry)
        self.store_queued = Gauge("auxilio_store_queued", "Writes that wait for the database.", registry=registry)
        self.store_commits = Gauge(
            "auxilio_store_commits", "Transactions committed since the start.", registry=registry
        )
        self.inventories_behind = Gauge(
            "auxilio_inventories_behind", "Devices whose last report is not yet searched.", registry=registry
        )
        self.links_ended = Counter("auxilio_links_ended", "Links that ended.", ["why"], registry=registry)
        self.handshakes_refused = Counter(
            "auxilio_connections_refused", "Connections not taken.", ["why"], registry=registry
        )
        self.reports = Counter("auxilio_reports", "Reports received.", ["outcome"], registry=registry)
        self.samples = Counter("auxilio_samples", "Batches of samples received.", ["outcome"], registry=registry)
        self.sessions_over = Counter("auxilio_sessions_over", "Sessions that are over.", ["state"], registry=registry)
        self.spliced_bytes = Counter("auxilio_spliced_bytes", "Bytes passed on between legs.", registry=registry)
        self.blob_bytes = Counter("auxilio_blob_bytes", "Bytes of blobs.", ["direction"], registry=registry)
        self.draining = Gauge("auxilio_draining", "1 once the relay was told to stop.", registry=registry)
        self.certificate_not_after = Gauge(
            "auxilio_certificate_not_after_seconds",
            "When the TLS certificate in use ends, Unix time.",
            registry=registry,
        )
        self.certificates = Counter(
            "auxilio_certificates",
            "TLS certificates that took another's place, or not.",
            ["outcome"],
            registry=registry,
        )
        self.unknown_messages = Counter(
            "auxilio_link_messages_unknown", "Link messages of unknown type.", registry=registry
        )
        self.quota_refusals = Counter(
            "auxilio_quota_refusals", "Refused: an organisation has its share.", ["what"], registry=registry
        )
        self.requests = Counter(
            "auxilio_requests", "HTTP requests answered.", ["method", "route", "status"], registry=registry
        )
        self.request_s = Histogram(
            "auxilio_request_seconds",
            "From a request's head to its answer, by route; links, legs and events are not in it.",
            ["route"],
            buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0),
            registry=registry,
        )

    def text(self) -> bytes:
        return generate_latest(self.registry)
