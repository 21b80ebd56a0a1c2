"""Arithmetic on arrays that stands between a client and everybody else.

Each name below is imported when it is first used, so that whoever needs one module does not wait for all of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from defenses.defense import Defense
    from defenses.entropy import Entropy, InsecureSeeded, SecureEntropy
    from defenses.errors import FrameError, IfedprivError, ProtocolError, UserError
    from defenses.frame import SERVER, DecodedFrame, Precision, decode, encode, frame_size, peek
    from defenses.grid import Grid
    from defenses.ledger import Event, Ledger, PublicDeclaration
    from defenses.session import Aggregate, ClientSession, RoundInfo, ServerSession
    from defenses.specs import (
        BfvSpec,
        CkksSpec,
        ClearSpec,
        ClipsSpec,
        DefenseSpec,
        GridSpec,
        WireSpec,
        defense_spec,
    )
    from defenses.statement import PrivacyStatement
    from defenses.units import Neighbouring, Trust, Unit
    from defenses.upload import Layout, Upload, UploadKind
    from defenses.view import Direction, FrameRecord, ServerView, ServerViewWriter
    from defenses.view_facts import ViewFacts

_HOMES = {
    "SERVER": "defenses.frame",
    "Aggregate": "defenses.session",
    "BfvSpec": "defenses.specs",
    "CkksSpec": "defenses.specs",
    "ClearSpec": "defenses.specs",
    "ClientSession": "defenses.session",
    "ClipsSpec": "defenses.specs",
    "DecodedFrame": "defenses.frame",
    "Defense": "defenses.defense",
    "DefenseSpec": "defenses.specs",
    "Direction": "defenses.view",
    "Entropy": "defenses.entropy",
    "Event": "defenses.ledger",
    "FrameError": "defenses.errors",
    "FrameRecord": "defenses.view",
    "Grid": "defenses.grid",
    "GridSpec": "defenses.specs",
    "IfedprivError": "defenses.errors",
    "InsecureSeeded": "defenses.entropy",
    "Layout": "defenses.upload",
    "Ledger": "defenses.ledger",
    "Neighbouring": "defenses.units",
    "Precision": "defenses.frame",
    "PrivacyStatement": "defenses.statement",
    "ProtocolError": "defenses.errors",
    "PublicDeclaration": "defenses.ledger",
    "RoundInfo": "defenses.session",
    "SecureEntropy": "defenses.entropy",
    "ServerSession": "defenses.session",
    "ServerView": "defenses.view",
    "ServerViewWriter": "defenses.view",
    "Trust": "defenses.units",
    "Unit": "defenses.units",
    "Upload": "defenses.upload",
    "UploadKind": "defenses.upload",
    "UserError": "defenses.errors",
    "ViewFacts": "defenses.view_facts",
    "WireSpec": "defenses.specs",
    "decode": "defenses.frame",
    "defense_spec": "defenses.specs",
    "encode": "defenses.frame",
    "frame_size": "defenses.frame",
    "peek": "defenses.frame",
}

__all__ = [
    "SERVER",
    "Aggregate",
    "BfvSpec",
    "CkksSpec",
    "ClearSpec",
    "ClientSession",
    "ClipsSpec",
    "DecodedFrame",
    "Defense",
    "DefenseSpec",
    "Direction",
    "Entropy",
    "Event",
    "FrameError",
    "FrameRecord",
    "Grid",
    "GridSpec",
    "IfedprivError",
    "InsecureSeeded",
    "Layout",
    "Ledger",
    "Neighbouring",
    "Precision",
    "PrivacyStatement",
    "ProtocolError",
    "PublicDeclaration",
    "RoundInfo",
    "SecureEntropy",
    "ServerSession",
    "ServerView",
    "ServerViewWriter",
    "Trust",
    "Unit",
    "Upload",
    "UploadKind",
    "UserError",
    "ViewFacts",
    "WireSpec",
    "decode",
    "defense_spec",
    "encode",
    "frame_size",
    "peek",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'defenses' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
