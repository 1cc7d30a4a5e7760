"""Names and addresses by models that are made here: a spaCy pipeline of rules, a transformers model set by hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.detection import Detector, DetectorConfig, NerConfig, Unread
from infra.detection import ner as ner_module
from revs.errors import BadInput

TEXT = "Jane Roe lives in Springfield, mail jane@example.com"


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spaCy pipeline that knows two names, in a folder."""
    import spacy

    pipeline = spacy.blank("en")
    ruler: Any = pipeline.add_pipe("entity_ruler")
    ruler.add_patterns(
        [
            {"label": "PERSON", "pattern": [{"LOWER": "jane"}, {"LOWER": "roe"}]},
            {"label": "GPE", "pattern": "Springfield"},
            {"label": "ORG", "pattern": "Acme"},
        ]
    )
    folder = tmp_path_factory.mktemp("spacy") / "rules"
    pipeline.to_disk(folder)
    return folder


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT that calls one word a person and one a place, by weights set by hand; it holds eight tokens."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForTokenClassification, PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "jane", "springfield", "and"]
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=8,
        **{f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep")},
    )
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
        max_position_embeddings=8,
        id2label={0: "O", 1: "B-PER", 2: "B-LOC"},
        label2id={"O": 0, "B-PER": 1, "B-LOC": 2},
    )
    torch.manual_seed(0)
    model = BertForTokenClassification(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        for module in model.modules():
            if isinstance(module, torch.nn.LayerNorm):
                module.weight.fill_(1.0)
        table = model.bert.embeddings.word_embeddings.weight
        table[4, 0], table[5, 1] = 9.0, 9.0
        model.classifier.weight[1, 0], model.classifier.weight[2, 1] = 9.0, 9.0
        model.classifier.bias[0] = 9.0
    folder = tmp_path_factory.mktemp("transformers") / "tiny"
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def kinds(detector: Detector, text: str) -> list[tuple[str, str]]:
    return [(f.type, text[f.start : f.end]) for f in detector.find(text)]


def test_names_are_found_by_a_spacy_pipeline_beside_the_known_types(rules: Path) -> None:
    assert kinds(Detector(DetectorConfig(ner=NerConfig.parse(f"spacy:{rules}"))), TEXT) == [
        ("PERSON", "Jane Roe"),
        ("LOCATION", "Springfield"),
        ("EMAIL_ADDRESS", "jane@example.com"),
    ]


def test_without_an_engine_no_name_is_found_and_no_model_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ner_module, "build", lambda _config: pytest.fail("a model was asked for"))
    assert kinds(Detector(), TEXT) == [("EMAIL_ADDRESS", "jane@example.com")]


def test_the_engine_is_asked_for_its_types_alone(rules: Path) -> None:
    config = DetectorConfig(types=("US_SSN",), ner=NerConfig(engine="spacy", model=str(rules), types=("ORGANIZATION",)))
    assert kinds(Detector(config), TEXT + " of Acme") == [("ORGANIZATION", "Acme")]


def test_a_name_below_the_least_score_is_left_out(rules: Path) -> None:
    def found(min_score: float) -> list[tuple[str, str]]:
        ner = NerConfig(engine="spacy", model=str(rules), min_score=min_score)
        return kinds(Detector(DetectorConfig(types=("US_SSN",), ner=ner)), TEXT)

    assert len(found(0.85)) == 2
    assert found(0.9) == []


def test_a_name_across_the_edge_of_two_pieces_is_found_once(rules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ner_module, "PIECE", 50)
    monkeypatch.setattr(ner_module, "OVERLAP", 20)
    detector = Detector(DetectorConfig(types=("US_SSN",), ner=NerConfig.parse(f"spacy:{rules}")))
    for filler in range(30, 60):
        text = "x" * filler + " Jane Roe " + "y" * 60
        assert kinds(detector, text) == [("PERSON", "Jane Roe")], filler


def test_names_are_found_by_a_transformers_model_and_no_token_is_cut_off(network: Path) -> None:
    text = "jane and " * 9 + "springfield"
    found = kinds(Detector(DetectorConfig(types=("US_SSN",), ner=NerConfig.parse(f"transformers:{network}"))), text)
    assert found == [("PERSON", "jane")] * 9 + [("LOCATION", "springfield")]


def test_a_model_that_fails_is_told_and_is_no_nothing(
    rules: Path, network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **_options: object) -> None:
        raise RuntimeError(TEXT)

    detector = Detector(DetectorConfig(types=("EMAIL_ADDRESS",), ner=NerConfig.parse(f"transformers:{network}")))
    assert detector.find(TEXT)
    from transformers import TokenClassificationPipeline

    monkeypatch.setattr(TokenClassificationPipeline, "__call__", fails)
    found = detector.find_all(TEXT + "!")
    assert [f.type for f in found.findings] == ["EMAIL_ADDRESS"]
    detail = f"on a text of {len(TEXT) + 1} characters"
    assert found.unread == (Unread(recogniser="transformers tiny", reason="failed (RuntimeError)", detail=detail),)


REFUSED = [
    ("spacy:en_core_web_lg_of_nobody", r"spaCy model .* is not installed"),
    ("transformers:nobody/no-such-model", "neither a folder nor in the Hugging Face cache"),
    ("gliner:nobody/no-such-model", "the package gliner is not installed"),
    ("stanza:en", "engine 'stanza' is not known"),
    ("spacy", "the model is missing"),
]


@pytest.mark.parametrize(("named", "reason"), REFUSED)
def test_a_model_that_is_not_there_is_refused_in_one_line_and_never_downloaded(
    named: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import spacy.cli

    monkeypatch.setattr(spacy.cli, "download", lambda *_: pytest.fail("a download was tried"))
    with pytest.raises(BadInput, match=reason) as caught:
        Detector(DetectorConfig(ner=NerConfig.parse(named))).find(TEXT)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("engine", ["spacy", "transformers"])
def test_a_folder_that_holds_no_model_is_refused_in_one_line(engine: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=rf"cannot be loaded as {engine} \(\w+\); check the model"):
        Detector(DetectorConfig(ner=NerConfig.parse(f"{engine}:{tmp_path}"))).find(TEXT)


def test_gliner_is_asked_for_names_and_addresses_in_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package is not here: a stand-in with its two calls shows what it is asked and how it is answered."""
    from presidio_analyzer.predefined_recognizers.ner import gliner_recognizer

    class StandIn:
        @classmethod
        def from_pretrained(cls, name: str, **_: object) -> StandIn:
            assert name == str(tmp_path)
            return cls()

        def predict_entities(self, *, text: str, labels: list[str], **_: object) -> list[dict[str, Any]]:
            assert labels == ["person", "address", "location"]
            start = text.find("Springfield")
            return [{"start": start, "end": start + 11, "label": "address", "score": 0.7}] if start >= 0 else []

    monkeypatch.setattr(gliner_recognizer, "GLiNER", StandIn)
    monkeypatch.setattr(ner_module.importlib.util, "find_spec", lambda _name: object())
    assert kinds(Detector(DetectorConfig(types=("US_SSN",), ner=NerConfig.parse(f"gliner:{tmp_path}"))), TEXT) == [
        ("LOCATION", "Springfield")
    ]


def test_the_file_names_an_engine_too(rules: Path, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(
        json.dumps({"ner": {"engine": "spacy", "model": str(rules), "types": ["PERSON"], "min_score": 0.5}})
    )
    detector = Detector.from_file(tmp_path / "own.yaml")
    assert ("PERSON", "Jane Roe") in kinds(detector, TEXT)
    assert ("LOCATION", "Springfield") not in kinds(detector, TEXT)
    assert detector.config.settings()["ner"]["engine"] == "spacy"


def test_importing_detection_loads_no_model_library() -> None:
    import subprocess

    code = "import sys, infra.detection; sys.exit(bool({'spacy', 'torch', 'presidio_analyzer'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[4], check=False, timeout=120)
    assert done.returncode == 0
