"""Combinators: functions that take a cell and return another, such as `stack` and `zoneout`."""

from recur.combine.adapt import ReadinParams, ReadoutParams, readin, readout
from recur.combine.attend import Attended, AttendParams, attend
from recur.combine.condition import Conditioned, ConditionParams, condition
from recur.combine.context_values import Memory
from recur.combine.dropout import recurrent_dropout, variational_dropout
from recur.combine.feedback import Feedback, feedback
from recur.combine.film import FilmParams, film
from recur.combine.normalize import NormalizeParams, normalize
from recur.combine.shortcuts import HighwayParams, highway, residual
from recur.combine.soft_window import (
    SoftWindow,
    SoftWindowParams,
    Windowed,
    WindowParts,
    soft_window,
)
from recur.combine.stack import Stack, stack
from recur.combine.transition import TransitionParams, deep_transition
from recur.combine.zoneout import zoneout

__all__ = [
    "AttendParams",
    "Attended",
    "ConditionParams",
    "Conditioned",
    "Feedback",
    "FilmParams",
    "HighwayParams",
    "Memory",
    "NormalizeParams",
    "ReadinParams",
    "ReadoutParams",
    "SoftWindow",
    "SoftWindowParams",
    "Stack",
    "TransitionParams",
    "WindowParts",
    "Windowed",
    "attend",
    "condition",
    "deep_transition",
    "feedback",
    "film",
    "highway",
    "normalize",
    "readin",
    "readout",
    "recurrent_dropout",
    "residual",
    "soft_window",
    "stack",
    "variational_dropout",
    "zoneout",
]
