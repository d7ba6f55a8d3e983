"""The GDB remote server: LLDB debugs guests through it.

It speaks `gdbremote` over trio streams and drives ``abc.DebugTarget``.

Start reading at ``_server`` (who is served when), then ``_session`` (one client) and ``_process``
(several targets as the threads of one process).
"""

from ._output import GuestOutput
from ._server import WhenClientLeaves, serve_gdb

__all__ = ["GuestOutput", "WhenClientLeaves", "serve_gdb"]
