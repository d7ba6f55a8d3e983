"""``lldb-dap-22``, as VS Code drives it, with the ``launch.json`` of the manual."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.dap_client import lldb_dap
from tests.e2e.lldb_client import GUESTS, line, needs_lldb_dap, served

pytestmark = [needs_lldb_dap, pytest.mark.slow]

MANUAL = Path(__file__).parents[2] / "docs" / "howto" / "lldb.md"


def launch_json(port: int) -> dict[str, Any]:
    """The attach configuration of the manual, with another port."""
    (block,) = [
        each for each in re.findall(r"```json\n(.*?)```", MANUAL.read_text(), re.DOTALL) if "lldb-dap" in each
    ]
    (configuration,) = json.loads(block)["configurations"]
    assert "127.0.0.1:1234" in json.dumps(configuration)
    replaced: dict[str, Any] = json.loads(
        json.dumps(configuration)
        .replace("127.0.0.1:1234", f"127.0.0.1:{port}")
        .replace("${workspaceFolder}", str(GUESTS))
        .replace("/path/of/the/build", "/guests")
    )
    return replaced


async def test_a_session_of_vs_code() -> None:
    price, basket = line("basket.c", "price"), str(GUESTS / "basket.c")
    async with served("basket", "shop") as at, lldb_dap() as dap:
        configuration = launch_json(at.port)
        capabilities = await dap.request(
            "initialize", adapterID="lldb-dap", linesStartAt1=True, pathFormat="path"
        )
        assert capabilities["supportsConfigurationDoneRequest"]
        attach = await dap.send(configuration["request"], **configuration)
        await dap.event("initialized")
        wanted = {"line": price, "condition": "item->id == 102"}
        made = await dap.request("setBreakpoints", source={"path": basket}, breakpoints=[wanted])
        (breakpoint_,) = made["breakpoints"]
        assert breakpoint_["verified"]
        await dap.request("configurationDone")
        await dap.answer(attach)

        stopped = await dap.event("stopped")
        if stopped["reason"] != "breakpoint":
            # It stops at the guest's first instruction before.
            await dap.request("continue", threadId=stopped["threadId"])
            stopped = await dap.event("stopped")
        assert stopped["reason"] == "breakpoint"
        thread = stopped["threadId"]
        (one,) = (await dap.request("threads"))["threads"]
        assert one["id"] == thread
        frames = (await dap.request("stackTrace", threadId=thread))["stackFrames"]
        assert [frame["name"] for frame in frames] == ["line_price", "sum", "shop"]
        assert frames[0]["line"] == price
        assert frames[0]["source"]["path"] == basket

        scopes = (await dap.request("scopes", frameId=frames[0]["id"]))["scopes"]
        places = next(each for each in scopes if each["name"] == "Locals")["variablesReference"]
        listed = (await dap.request("variables", variablesReference=places))["variables"]
        variables = {each["name"]: each for each in listed}
        assert variables["full"]["value"] == "3.5"
        assert variables["discount"]["value"] == "10"
        changed = await dap.request("setVariable", variablesReference=places, name="discount", value="50")
        assert changed["value"] == "50"
        frame = frames[0]["id"]
        found = await dap.request("evaluate", expression="item->name", frameId=frame, context="hover")
        assert "bread" in found["result"]

        await dap.request("stepOut", threadId=thread)
        await dap.event("stopped")
        frames = (await dap.request("stackTrace", threadId=thread))["stackFrames"]
        assert frames[0]["name"] == "sum"
        await dap.request("next", threadId=thread)
        await dap.event("stopped")
        frame = (await dap.request("stackTrace", threadId=thread))["stackFrames"][0]["id"]
        price_now = await dap.request("evaluate", expression="price", frameId=frame, context="watch")
        assert float(price_now["result"].split()[-1]) == 1.75, "the discount that was changed counts"

        await dap.request("setBreakpoints", source={"path": basket}, breakpoints=[])
        await dap.request("continue", threadId=thread)
        exited = await dap.event("exited")
        assert exited["exitCode"] == 0
        await dap.request("disconnect")
