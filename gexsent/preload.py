"""Import what the stages of the pipeline import, once, in the process that they are copied from (see warm.py).

Whatever is not here is imported by each stage that needs it: this list decides how long a run takes, and nothing else.
"""

import gc
import os
import sys
import threading
import warnings

from gexsent.notebooks import KERNEL

os.environ.update(KERNEL)  # which libraries read as they are imported
warnings.filterwarnings("ignore", message="IProgress not found")  # as KERNEL says to a new Python
# A kernel would choose this itself, but matplotlib reads it once, when it is imported.
os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type] # see cli._notebook

import av  # noqa: E402, F401
import ipykernel.kernelapp  # noqa: E402, F401
import IPython.core.display_functions  # noqa: E402, F401
import matplotlib.backends.backend_pdf  # noqa: E402, F401
import matplotlib_inline.backend_inline  # noqa: E402, F401
import pandas  # noqa: E402
import papermill  # noqa: E402, F401
import torch._dynamo  # noqa: E402
import torch.utils.flop_counter  # noqa: E402, F401
import tqdm  # noqa: E402
import transformers.models.modernbert.modeling_modernbert  # noqa: E402, F401

import gexsent.explain.post  # noqa: E402
import gexsent.predictor  # noqa: E402
import gexsent.stages.audit  # noqa: E402
import gexsent.stages.cases  # noqa: E402
import gexsent.stages.evaluate  # noqa: E402
import gexsent.stages.explain  # noqa: E402
import gexsent.stages.reliability  # noqa: E402
import gexsent.stages.robustness  # noqa: E402
import gexsent.stages.search  # noqa: E402
import gexsent.stages.tables  # noqa: E402, F401

# As pandas finds it in a kernel: outside one it cuts what is printed to the width of a terminal.
pandas.set_option("display.max_columns", 20)
# One for the threads of this process; the semaphore of tqdm's own is left behind by each copy.
tqdm.tqdm.set_lock(threading.RLock())
# What is here stays: without this each copy's garbage collector would write to all of it, and so copy the memory too.
gc.collect()
gc.freeze()
