"""On the relay itself, and how good the way there is."""

from __future__ import annotations

from guidance.guidance import N_, Guidance

TEXTS = (
    Guidance(
        code="relay-no-address",
        title=N_("The support service's address is not found"),
        customer=N_("Names are found, but not that of your support service."),
        technician=N_("No address for {host} from the system's resolver, and none is remembered."),
        technician_does=N_("Compare with another name server; has the relay moved?"),
        guide="support-service",
    ),
    Guidance(
        code="relay-unreachable",
        title=N_("The support service cannot be reached"),
        customer=N_("The internet works, but your support service cannot be reached from here."),
        customer_does=N_("Wait ten minutes. If it lasts, call your support organisation."),
        technician=N_("No TCP connection to {host}, while others answer."),
        technician_does=N_("A firewall on the way, or the relay is down: does another device reach it?"),
        guide="support-service",
    ),
    Guidance(
        code="relay-refuses",
        title=N_("The support service is not running"),
        customer=N_("Your support service's server answers, but the service on it does not run."),
        customer_does=N_("Wait ten minutes. If it lasts, call your support organisation."),
        technician=N_("{host} refuses the connection."),
        technician_does=N_("Start the relay, or a firewall rejects: does another device reach it?"),
        guide="support-service",
    ),
    Guidance(
        code="relay-silent",
        title=N_("The support service does not answer"),
        customer=N_("A connection to your support service stands, but nothing is answered."),
        customer_does=N_("Wait ten minutes. If it lasts, call your support organisation."),
        technician=N_("{host} accepts TCP and answers no request."),
        technician_does=N_("The relay or a proxy before it hangs."),
        guide="support-service",
    ),
    Guidance(
        code="relay-failing",
        title=N_("The support service has a fault"),
        customer=N_("Your support service answers with an error."),
        customer_does=N_("Wait ten minutes. If it lasts, call your support organisation."),
        technician=N_("{host} answers with status {status}."),
        technician_does=N_("Read the relay's log."),
        guide="support-service",
    ),
    Guidance(
        code="loss",
        title=N_("Some data is lost on the way"),
        customer=N_("The connection works, but loses data now and then ({loss_percent} %): calls stutter."),
        customer_does=N_("On Wi-Fi, go nearer to the router, or use a cable."),
        technician=N_("{loss_percent} % of connection attempts to {host} needed a second packet."),
        technician_does=N_("Wi-Fi, a bad cable, or a full line: measure to the gateway first."),
        command="ping -c 50 GATEWAY",
        guide="slow",
    ),
    Guidance(
        code="loss-heavy",
        title=N_("Much data is lost on the way"),
        customer=N_("The connection is hardly usable: {loss_percent} % is lost."),
        customer_does=N_("On Wi-Fi, go nearer to the router, or use a cable. Restart the router."),
        technician=N_("{loss_percent} % of connection attempts to {host} needed a second packet."),
        technician_does=N_("Wi-Fi, a bad cable, or a full line: measure to the gateway first."),
        command="ping -c 50 GATEWAY",
        guide="slow",
    ),
    Guidance(
        code="latency-high",
        title=N_("The connection answers slowly"),
        customer=N_("Every click takes its time: an answer takes {rtt_ms} ms."),
        customer_does=N_("Does somebody in your network upload or watch much? Pause it."),
        technician=N_("The median to {host} is {rtt_ms} ms."),
        technician_does=N_("A full line, a mobile or satellite access, or a far relay."),
        guide="slow",
    ),
)
