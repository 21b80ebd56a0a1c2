"""Arithmetic on arrays that stands between a client and everybody else."""

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
