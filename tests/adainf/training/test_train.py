import json


def test_a_run_is_an_adapter_and_a_readable_manifest(done, network, pictures, tmp_path):
    printed = done("train", *network, "--images", pictures, "--steps", 3, "--out", tmp_path / "run")
    assert "3 steps" in printed
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["adapter.safetensors", "manifest.json"]
    told = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert (told["backbone"], told["adapter"]["kind"], told["training"]["steps"]) == ("cifar/resnet20", "lora", 3)
    assert told["training"]["images"] == 40
