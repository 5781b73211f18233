"""A model of one's own posts, put on the Hugging Face Hub."""

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from gexsent.errors import DataError
from gexsent.posts import folder as folders

if TYPE_CHECKING:
    from gexsent.predictor import Predictor


def push(
    predictor: "Predictor", name: str, *, private: bool, token: str | None, license: str | None, commit_message: str
) -> str:
    """Upload what `Predictor.save` writes; arguments and errors as those of Predictor.push_to_hub.

    Returns:
        The address of the repository.
    """
    from huggingface_hub import HfApi

    _refuse_own_encoders(predictor)
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=token)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "model"
        folders.save(predictor, folder, name, license)
        try:
            made = api.create_repo(name, private=private, exist_ok=True)
            public = private and not api.model_info(made.repo_id).private
            if not public:
                api.upload_folder(repo_id=made.repo_id, folder_path=folder, commit_message=commit_message)
        except Exception as error:  # the hub library raises a dozen types; each means that nothing was uploaded
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise DataError(f"{name}: cannot be uploaded to the Hub: {reason}") from error
    if public:
        raise DataError(f"{name}: is there already, and public; take another name, or say private=False")
    return str(made)


def _refuse_own_encoders(predictor: "Predictor") -> None:
    record = predictor.record
    for part in () if record is None else (record.text, record.vision, record.vision_weights):
        if part is not None and Path(part).exists():
            raise DataError(
                f"{part}: this encoder lies on this machine alone, and without it nobody else can use the model"
            )
