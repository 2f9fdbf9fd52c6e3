"""Workflows as they stand in files: what is well-formed is taken, each fault told with its path. (W1, W2, W3)"""

import jsonschema_rs
from hypothesis import given, settings

from engine.workflows import strategies
from fieldloom_engine.workflows import parse, schema

SCHEMA = jsonschema_rs.validator_for(schema())


@settings(max_examples=30, deadline=None)
@given(strategies.documents())
def test_what_is_well_formed_is_a_workflow_and_fits_the_schema(document):
    workflow = parse(document)

    assert workflow.document == document
    assert list(SCHEMA.iter_errors(document)) == []
