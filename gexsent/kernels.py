"""How papermill comes by a kernel that is a copy of the process that runs the notebook."""

import os
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner

from gexsent.warm import Standby

NAME = "gexsent-copy"  # under which pyproject.toml registers it with Jupyter
waiting: list[Standby] = []


def stand_by() -> None:
    """Copy this process, which must have no threads yet, and make the copy the next kernel that Jupyter starts here."""
    waiting.append(Standby())
    KernelProvisionerFactory.instance().default_provisioner_name = NAME


class CopyProvisioner(LocalProvisioner):
    """Starts a kernel from the copy that stands by, where Jupyter would start a new Python."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        self.process = waiting.pop()
        self.process.launch(cmd, cwd=kwargs.get("cwd"), env=kwargs.get("env") or dict(os.environ))
        self.pid = self.process.pid
        return self.connection_info
