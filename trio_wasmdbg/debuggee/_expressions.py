"""Expressions over a paused frame: the meeting point of `expressions` and frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._frames import Frame

__all__ = ["check_expression", "check_message", "evaluate_in", "format_in"]


def check_expression(text: str) -> None:
    """:raises ExpressionError: *text* does not parse."""


def check_message(text: str) -> None:
    """:raises ExpressionError: an expression in *text* does not parse."""


def evaluate_in(frame: Frame, text: str) -> object:
    """The value of an expression in a frame."""
    raise NotImplementedError


def format_in(frame: Frame, template: str) -> str:
    """A message with the values of its expressions in a frame."""
    raise NotImplementedError
