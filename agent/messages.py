"""What a customer reads, in English and Spanish. Keys are complete in both; a test holds them to it.

What only administrators and technicians read (most errors, the fields of the log) is English.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

ENGLISH: Mapping[str, str] = {
    "joined": "This device has joined. Its id is {device}.",
    "joined_next": "It reports to your support organisation as soon as `auxilio-agent run` runs. "
    "Until an admin approves it, it is provisional.",
    "left": "This device has left its organisation and forgotten its keys.",
    "running": "The agent is running.",
    "not_running": "The agent is not running.",
    "device": "Device",
    "organisation": "Organisation",
    "tags": "Tags",
    "provisional": "provisional: not approved yet",
    "connection": "Connection",
    "linked": "connected to {relay} for {duration}",
    "linked_through": "connected to {relay} through the proxy {proxy} for {duration}",
    "not_linked": "not connected since {duration}: {reason}",
    "last_offline": "Last offline",
    "offline_was": "{when}: {reason}",
    "connected_people": "Connected now",
    "nobody": "nobody",
    "session": "{technician} as {account}: {purpose} ({duration})",
    "asks": "Asks for permission",
    "question": "{technician} wants to connect as {account} ({capabilities}): {purpose}. {seconds} s left.",
    "how_to_answer": "Answer with `auxilio-agent allow` or `auxilio-agent deny`.",
    "policy": "Policy",
    "policy_is": "{number}, valid until {until}",
    "no_policy": "none",
    "policy_expired": "{number}, expired on {until}: only sessions that you allow yourself are possible",
    "waiting_reports": "Reports waiting",
    "reports": "{reports} ({size})",
    "clock": "Clock",
    "clock_behind": "behind by at least {duration}: check date and time",
    "restricted": "The organisation's rules need a newer agent; only sessions that you allow are possible: {fields}",
    "allowed": "You have allowed {technician} to connect: {purpose}",
    "denied": "You have refused {technician}.",
    "revoked": "Ended: {count} session(s).",
    "imported": "The policy was taken over: number {number}.",
    "known": "The policy was not newer than the one that is held: number {number}.",
    "proxy_is": "Proxy: {proxy}",
    "no_log": "The log is empty.",
    "spool_failed": "cannot be kept at the moment: {reason}",
    "machine_changed": "This agent's files come from another machine. Its next start puts them aside, and this device "
    "joins anew; if it is the same machine after a repair, run `auxilio-agent same-machine` as root.",
    "same_machine": "{device} is bound to this machine from now on.",
    "image_prepared": "There is no identity here any more. Each copy joins by itself at its first start.",
    "image_removed": "Removed",
    "image_device": "An admin removes the device that this one was: auxilio device remove {device}",
    "image_token": "The token serves {uses} devices at most, until {until}.",
    "image_machine_id": "/etc/machine-id is set here: empty it in the image, so that each copy gets its own.",
    "log_bug": "fault of ours",
    "log_channel_exit": "program ended",
    "log_channel_open": "program started",
    "log_channel_refused": "refused",
    "log_charter_accepted": "new charter",
    "log_charter_fork": "contradicting charter",
    "log_charter_refused": "charter refused",
    "log_consent_answered": "permission",
    "log_consent_asked": "permission asked",
    "log_consent_revoked": "permission withdrawn",
    "log_customer_allow": "you allowed",
    "log_file": "file",
    "log_files_more": "more files",
    "log_forward_open": "forwarded to",
    "log_forward_refused": "forward refused",
    "log_customer_deny": "you refused",
    "log_customer_revoke": "you ended",
    "log_documents_not_fetched": "rules not fetched",
    "log_introduced": "known to a new relay",
    "log_joined": "organisation joined",
    "log_left": "organisation left",
    "log_link_replaced": "copy connected",
    "log_not_introduced": "unknown to the relay",
    "log_offer_repeated": "repeated request",
    "log_offline": "disconnected",
    "log_online": "connected",
    "log_policy_accepted": "new rules",
    "log_policy_fork": "contradicting rules",
    "log_policy_refused": "rules refused",
    "log_proxy_set": "proxy set",
    "log_put_aside": "identity put aside",
    "log_record_accepted": "approved",
    "log_record_fork": "contradicting approval",
    "log_record_refused": "approval refused",
    "log_record_void": "approval void",
    "log_report_abandoned": "report abandoned",
    "log_report_anew": "reports everything",
    "log_report_delayed": "report delayed",
    "log_same_machine": "same machine",
    "log_session_away": "connection lost, session waits",
    "log_session_back": "session goes on",
    "log_session_ended": "session ended",
    "log_session_open": "technician connected",
    "log_session_process_error": "session fault",
    "log_session_refused": "session refused",
    "log_session_requested": "session requested",
    "log_session_started": "session started",
    "log_session_withdrawn": "request withdrawn",
    "log_spool_damaged": "spool damaged",
    "log_spool_unavailable": "spool unavailable",
    "log_started": "agent started",
    "log_stopped": "agent stopped",
}

SPANISH: Mapping[str, str] = {
    "joined": "Este equipo ya forma parte de la organización. Su identificador es {device}.",
    "joined_next": "Informará a su servicio de asistencia en cuanto se ejecute `auxilio-agent run`. "
    "Hasta que un administrador lo apruebe, es provisional.",
    "left": "Este equipo ha dejado su organización y ha olvidado sus claves.",
    "running": "El agente está en marcha.",
    "not_running": "El agente no está en marcha.",
    "device": "Equipo",
    "organisation": "Organización",
    "tags": "Etiquetas",
    "provisional": "provisional: aún sin aprobar",
    "connection": "Conexión",
    "linked": "conectado a {relay} desde hace {duration}",
    "linked_through": "conectado a {relay} por el proxy {proxy} desde hace {duration}",
    "not_linked": "sin conexión desde hace {duration}: {reason}",
    "last_offline": "Última desconexión",
    "offline_was": "{when}: {reason}",
    "connected_people": "Conectados ahora",
    "nobody": "nadie",
    "session": "{technician} como {account}: {purpose} ({duration})",
    "asks": "Pide permiso",
    "question": "{technician} quiere conectarse como {account} ({capabilities}): {purpose}. Quedan {seconds} s.",
    "how_to_answer": "Responda con `auxilio-agent allow` (permitir) o `auxilio-agent deny` (rechazar).",
    "policy": "Normas",
    "policy_is": "{number}, válidas hasta el {until}",
    "no_policy": "ninguna",
    "policy_expired": "{number}, caducadas el {until}: solo son posibles las sesiones que usted permita",
    "waiting_reports": "Informes pendientes",
    "reports": "{reports} ({size})",
    "clock": "Reloj",
    "clock_behind": "atrasado al menos {duration}: compruebe la fecha y la hora",
    "restricted": "Las normas de la organización requieren un agente más reciente; "
    "solo son posibles las sesiones que usted permita: {fields}",
    "allowed": "Ha permitido que {technician} se conecte: {purpose}",
    "denied": "Ha rechazado a {technician}.",
    "revoked": "Sesiones terminadas: {count}.",
    "imported": "Se han adoptado las normas número {number}.",
    "known": "Las normas no eran más recientes que las vigentes: número {number}.",
    "proxy_is": "Proxy: {proxy}",
    "no_log": "El registro está vacío.",
    "spool_failed": "no se pueden guardar por ahora: {reason}",
    "machine_changed": "Los archivos de este agente proceden de otro equipo. Al iniciarse los apartará y este equipo "
    "volverá a unirse; si es el mismo equipo tras una reparación, ejecute `auxilio-agent same-machine` como root.",
    "same_machine": "{device} queda vinculado a este equipo.",
    "image_prepared": "Aquí ya no hay ninguna identidad. Cada copia se unirá por sí misma al iniciarse.",
    "image_removed": "Eliminado",
    "image_device": "Un administrador elimina el equipo que este era: auxilio device remove {device}",
    "image_token": "El código sirve para {uses} equipos como máximo, hasta el {until}.",
    "image_machine_id": "/etc/machine-id tiene un valor: vacíelo en la imagen, para que cada copia tenga el suyo.",
    "log_bug": "fallo nuestro",
    "log_channel_exit": "programa terminado",
    "log_channel_open": "programa iniciado",
    "log_channel_refused": "rechazado",
    "log_charter_accepted": "nuevos estatutos",
    "log_charter_fork": "estatutos opuestos",
    "log_charter_refused": "estatutos rechazados",
    "log_consent_answered": "permiso",
    "log_consent_asked": "permiso pedido",
    "log_consent_revoked": "permiso retirado",
    "log_customer_allow": "usted permitió",
    "log_file": "archivo",
    "log_files_more": "más archivos",
    "log_forward_open": "reenvío a",
    "log_forward_refused": "reenvío rechazado",
    "log_customer_deny": "usted rechazó",
    "log_customer_revoke": "usted terminó",
    "log_documents_not_fetched": "normas no obtenidas",
    "log_introduced": "conocido por otro servidor",
    "log_joined": "organización nueva",
    "log_left": "organización dejada",
    "log_link_replaced": "copia conectada",
    "log_not_introduced": "desconocido para el servidor",
    "log_offer_repeated": "petición repetida",
    "log_offline": "desconectado",
    "log_online": "conectado",
    "log_policy_accepted": "nuevas normas",
    "log_policy_fork": "normas opuestas",
    "log_policy_refused": "normas rechazadas",
    "log_proxy_set": "proxy establecido",
    "log_put_aside": "identidad apartada",
    "log_record_accepted": "equipo aprobado",
    "log_record_fork": "aprobación opuesta",
    "log_record_refused": "aprobación rechazada",
    "log_record_void": "aprobación nula",
    "log_report_abandoned": "informe abandonado",
    "log_report_anew": "informa de todo",
    "log_report_delayed": "informe aplazado",
    "log_same_machine": "mismo equipo",
    "log_session_away": "conexión perdida, la sesión espera",
    "log_session_back": "la sesión continúa",
    "log_session_ended": "sesión terminada",
    "log_session_open": "técnico conectado",
    "log_session_process_error": "fallo de sesión",
    "log_session_refused": "sesión rechazada",
    "log_session_requested": "sesión pedida",
    "log_session_started": "sesión iniciada",
    "log_session_withdrawn": "petición retirada",
    "log_spool_damaged": "cola dañada",
    "log_spool_unavailable": "cola no disponible",
    "log_started": "agente iniciado",
    "log_stopped": "agente detenido",
}

ERRORS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "es": {
        "agent_not_running": (
            "el agente no está en marcha",
            "Inícielo con `auxilio-agent run`, o como servicio del sistema.",
        ),
        "ambiguous": (
            "hay varias solicitudes pendientes",
            "Indique la sesión; `auxilio-agent status` las muestra.",
        ),
        "inside_session": ("desde la sesión de un técnico no se puede responder por el cliente", ""),
        "not_admin": ("solo el administrador del equipo puede hacer esto", "Ejecútelo como root."),
        "not_found": ("ninguna sesión con ese identificador espera respuesta", ""),
        "join_waits": (
            "este equipo aún no se ha unido; lo hará por sí mismo, con el código que guarda",
            "Inicie `auxilio-agent run`, o averigüe por qué no encuentra su servicio de asistencia.",
        ),
        "put_aside": (
            "los archivos del agente procedían de otro equipo y se apartaron: este equipo debe volver a unirse",
            "`auxilio-agent join CÓDIGO`; o, si es el mismo equipo tras una reparación, como root: "
            "`auxilio-agent same-machine`.",
        ),
        "not_joined": (
            "este equipo no pertenece a ninguna organización",
            "Únase con `auxilio-agent join CÓDIGO`; su servicio de asistencia le da el código.",
        ),
        "not_present": ("solo puede hacerlo quien haya iniciado sesión en este equipo", ""),
        "nothing_asked": ("nadie pide permiso en este momento", ""),
        "too_late": ("la respuesta llegó demasiado tarde", "El técnico puede volver a pedirlo."),
    }
}
"""Message and hint of the errors that a customer meets, by code, in other languages than English."""

CATALOGUES: Mapping[str, Mapping[str, str]] = {"en": ENGLISH, "es": SPANISH}


def language(environment: Mapping[str, str] = os.environ) -> str:
    """The customer's language by the locale's variables, in the order of locale(7): "en" or "es"."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        value = environment.get(name, "")
        if value:
            return "es" if value.lower().startswith("es") else "en"
    return "en"


def say_error(code: str) -> tuple[str, str] | None:
    """Message and hint of an error in the customer's language; None where it says itself what there is to say."""
    return ERRORS.get(language(), {}).get(code)


def say(key: str, **values: object) -> str:
    """The message `key` in the customer's language."""
    return CATALOGUES[language()][key].format(**values)


def say_event(event: str) -> str:
    """What an entry of the log is about, in the customer's language; the event's own name where we know no better."""
    return CATALOGUES[language()].get(f"log_{event}", event)
