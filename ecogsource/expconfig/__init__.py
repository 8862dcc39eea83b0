"""The session database of a lab: name a recording, and everything about it is known.

A session is an INI file ``<user_sessions>/<group>/<session>.txt``; see :doc:`/sessions`.
"""

from ecogsource.expconfig.build import build_experiment
from ecogsource.expconfig.bunch import Bunch
from ecogsource.expconfig.database import (
    FoundRecording,
    SessionFileWarning,
    available_sessions,
    find_conf,
    find_sessions,
    list_sessions,
    open_session,
    session_conf,
    session_groups,
    session_info,
    session_table,
    sessions_to_delta,
)
from ecogsource.expconfig.experiment import StimulatedExperiment, join_experiments
from ecogsource.expconfig.fields import BASE_TABLE, Field
from ecogsource.expconfig.index import clear_index
from ecogsource.expconfig.session import SessionFile
from ecogsource.params import OVERRIDE, load_params

__all__ = [
    "BASE_TABLE",
    "OVERRIDE",
    "Bunch",
    "Field",
    "FoundRecording",
    "SessionFile",
    "SessionFileWarning",
    "StimulatedExperiment",
    "available_sessions",
    "build_experiment",
    "clear_index",
    "find_conf",
    "find_sessions",
    "join_experiments",
    "list_sessions",
    "load_params",
    "open_session",
    "session_conf",
    "session_groups",
    "session_info",
    "session_table",
    "sessions_to_delta",
]
