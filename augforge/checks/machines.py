"""A report of checks for machines: annotations of GitHub Actions, and JUnit XML."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree as Xml

from augforge.checks.core import Finding, Outcome, visible
from augforge.checks.run import Report
from augforge.files import is_url, write_text

_DATA = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_PROPERTY = {**_DATA, ":": "%3A", ",": "%2C"}


def annotation_lines(report: Report, environment: Mapping[str, str] = os.environ) -> Iterator[str]:
    """One line for each finding, as GitHub Actions reads them; files are told relative to the checkout.

    Format: the workflow commands `error` and `warning` of GitHub's documentation.
    """
    for finding in report.findings:
        properties = {"title": f"augforge: {finding.kind}"}
        if finding.file is not None:
            properties = {"file": _in_checkout(finding.file, environment.get("GITHUB_WORKSPACE")), **properties}
        if finding.line is not None:
            properties["line"] = str(finding.line)
        told = ",".join(f"{key}={_escape(value, _PROPERTY)}" for key, value in properties.items())
        yield f"::{finding.level} {told}::{_escape(_text(finding), _DATA)}"


def _escape(text: str, table: Mapping[str, str]) -> str:
    return "".join(table.get(character, character) for character in visible(text))


def _in_checkout(file: str, workspace: str | None) -> str:
    if is_url(file) or workspace is None:
        return file
    path, root = Path(file).absolute(), Path(workspace).absolute()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else file


def write_junit(report: Report, path: Path) -> None:
    """Write a report as JUnit XML: a test case for each check of each dataset.

    A case with findings is a failure, with warnings alone a success that says so. What could not be checked because its
    data is not here is skipped; an error if the data could not be read, or had to be here.
    """
    cases = list(report.outcomes)
    suite = Xml.Element("testsuite", name="augforge check", tests=str(len(cases)), time="0")
    for outcome in cases:
        suite.append(_case(outcome, report.require_data))
    for tag, name in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        suite.set(name, str(sum(case.find(tag) is not None for case in suite)))
    root = Xml.Element("testsuites", {key: value for key, value in suite.attrib.items() if key != "skipped"})
    root.append(suite)
    Xml.indent(root)
    write_text(path, '<?xml version="1.0" encoding="UTF-8"?>\n' + Xml.tostring(root, encoding="unicode") + "\n")


def _case(outcome: Outcome, require_data: bool) -> Xml.Element:
    case = Xml.Element("testcase", classname=visible(outcome.subject), name=outcome.check, time="0")
    errors = [finding for finding in outcome.findings if finding.level == "error"]
    warnings = [finding for finding in outcome.findings if finding.level == "warning"]
    if errors:
        failure = Xml.SubElement(case, "failure", type=errors[0].kind, message=visible(errors[0].message))
        failure.text = visible("\n\n".join(map(_placed_text, errors)))
    elif outcome.not_checked:
        first = outcome.not_checked[0]
        serious = first.cause == "failed" or (require_data and first.cause == "absent")
        reason = Xml.SubElement(case, "error" if serious else "skipped", message=visible(first.reason))
        reason.text = visible("\n".join(each.reason for each in outcome.not_checked))
    if warnings:
        Xml.SubElement(case, "system-out").text = visible("\n\n".join(map(_placed_text, warnings)))
    return case


def _text(finding: Finding) -> str:
    return f"{finding.message}\n{finding.remedy}" if finding.remedy else finding.message


def _placed_text(finding: Finding) -> str:
    place = [str(part) for part in (finding.file, finding.line) if part is not None]
    return ": ".join([":".join(place), _text(finding)] if place else [_text(finding)])
