"""`make bench`: run notebooks/11_speed.ipynb with the settings of a measurement, and print its main tables."""

from pathlib import Path

from gexsent import machine

ROOT = Path(__file__).parents[1]
FULL = {
    "rounds": 5,
    "memory_rounds": 2,
    "at_least": 0.2,
    "side": 1024,
    "megabytes": 256,
    "large_encoders": True,
    "names": "all",
    "expert_counts": [4, 8, 16, 32, 64],
    "samples": [11_500, 23_000, 46_000],
    "seeds": [2, 5, 10],
    "output": ".scratch/speed",
}
MAIN = ("ceilings", "stages", "training", "experts")


def main() -> None:
    machine.pin()  # as every command does, before numpy is imported
    import papermill
    from traitlets.config import Config

    from gexsent import notebooks

    folder = ROOT / FULL["output"]
    folder.mkdir(parents=True, exist_ok=True)
    papermill.execute_notebook(
        str(ROOT / "notebooks" / "11_speed.ipynb"),
        str(folder / "11_speed.ipynb"),
        FULL,
        cwd=str(ROOT),
        config=Config(notebooks.MANAGER),
        progress_bar=True,
    )
    for name in MAIN:
        print((folder / f"{name}.md").read_text())
    print(f"The executed notebook, its figures and all tables lie in {FULL['output']}/.")


if __name__ == "__main__":
    main()
