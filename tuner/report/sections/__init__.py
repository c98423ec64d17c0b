"""The sections of a report, in the order in which they are read. Another one is another file and a name here."""

from __future__ import annotations

from tuner.report.blocks import Author
from tuner.report.sections.code import code
from tuner.report.sections.conditions import conditions
from tuner.report.sections.environment import environment
from tuner.report.sections.failures import failures
from tuner.report.sections.finalists import finalists
from tuner.report.sections.headline import headline
from tuner.report.sections.pairs import strongest_pair
from tuner.report.sections.parameters import parameters
from tuner.report.sections.roofline import roofline
from tuner.report.sections.search import search

SECTIONS: tuple[Author, ...] = (
    headline,
    finalists,
    search,
    parameters,
    strongest_pair,
    roofline,
    conditions,
    failures,
    code,
    environment,
)
