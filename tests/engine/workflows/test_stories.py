"""Workflows go as their stories tell: seven kinds of states, what fails, waits, ends and is undone. (W2, W5, E4)"""

import pytest

from engine.workflows.memory import Memory
from fixtures.workflow_stories import differences, stories


@pytest.mark.parametrize("story", stories(), ids=str)
def test_workflows_go_as_their_stories_tell(story):
    memory = Memory(story.workflow, story.variables)

    for told in story.happens:
        memory.happen(told)
    memory.elapse(story.until)

    assert differences(story, memory.asked, len(memory.abandoned), memory.history, memory.instance) == []
