import json

import torch

from adainf.preprocessing import Preprocessing
from adainf.training.recipes.distil import renormalised


def test_a_run_is_an_adapter_and_a_readable_manifest(done, network, pictures, tmp_path):
    printed = done("train", *network, "--images", pictures, "--steps", 3, "--out", tmp_path / "run")
    assert "3 steps" in printed
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["adapter.safetensors", "manifest.json"]
    told = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert (told["backbone"], told["adapter"]["kind"], told["training"]["steps"]) == ("cifar/resnet20", "lora", 3)
    assert told["training"]["images"] == 40


def test_a_video_teaches_without_labels(done, network, clip, tmp_path):
    video = clip(tmp_path / "clip.mp4", 20)
    done("train", *network, "--images", video, "--unlabelled", "--steps", 2, "--out", tmp_path / "run")
    told = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert (told["training"]["images"], told["training"]["labelled"]) == (20, False)


def test_several_sources_follow_one_option(done, network, pictures, clip, tmp_path):
    sources = [pictures, clip(tmp_path / "clip.mp4", 20)]
    done("train", *network, "--unlabelled", "--images", *sources, "--mix", "3,1", "--steps", 1, "--out", tmp_path / "r")
    told = json.loads((tmp_path / "r" / "manifest.json").read_text())["training"]
    assert (told["sources"], told["mix"]) == ([str(source) for source in sources], [0.75, 0.25])


def loss_of(folder):
    return json.loads((folder / "manifest.json").read_text())["training"]["loss"]


def test_branches_come_closer_to_the_full_model(done, network, pictures, tmp_path):
    for steps in (4, 60):
        settings = ("--steps", steps, "--learning-rate", 0.003, "--resolutions", 16)
        done("train", *network, "--images", pictures, "--unlabelled", *settings, "--out", tmp_path / str(steps))
    assert loss_of(tmp_path / "60") < 0.7 * loss_of(tmp_path / "4")


def test_labels_add_to_what_is_learnt(done, network, pictures, tmp_path):
    for name, options in (("labelled", []), ("unlabelled", ["--unlabelled"])):
        done("train", *network, "--images", pictures, "--steps", 1, *options, "--out", tmp_path / name)
    assert loss_of(tmp_path / "labelled") > loss_of(tmp_path / "unlabelled") + 1


def test_another_network_of_the_same_classes_teaches(done, refused, network, pictures, tmp_path):
    train = ("train", *network, "--images", pictures, "--unlabelled", "--steps", 2)
    done(*train, "--out", tmp_path / "own")
    done(*train, "--teacher", "cifar/resnet32", "--teacher-weights", "random", "--out", tmp_path / "taught")
    told = json.loads((tmp_path / "taught" / "manifest.json").read_text())["training"]
    assert told["teacher"] == "cifar/resnet32"
    assert loss_of(tmp_path / "taught") != loss_of(tmp_path / "own")
    other = ("--teacher", "timm/vit_tiny_patch16_224", "--teacher-weights", "random", "--out", tmp_path / "no")
    assert "must have the classes of cifar/resnet20; class 0 is" in refused(*train, *other)
    assert "goes with the recipe 'distil'" in refused(*train, "--recipe", "paper", *other)


def test_a_teacher_sees_pictures_as_it_expects_them():
    made_for, wanted = (Preprocessing(8, (mean,) * 3, (std,) * 3) for mean, std in ((0.5, 0.5), (0.4, 0.2)))
    pixels = torch.rand(2, 3, 8, 8)
    shown = renormalised((pixels - 0.5) / 0.5, made_for, wanted)
    torch.testing.assert_close(shown, (pixels - 0.4) / 0.2)


def test_only_a_profiles_branches_are_drawn(done, refused, network, settings, pictures, profile, tmp_path):
    train = ("train", *network[:6], "--batch", 4, "--images", pictures, "--profile", profile, "--steps", 1)
    done(*train, "--ceiling", 0.3, "--out", tmp_path / "run")
    told = json.loads((tmp_path / "run" / "manifest.json").read_text())["training"]
    known = {measured["branch"] for measured in json.loads(profile.read_text())["branches"]}
    assert told["branches"]
    assert set(told["branches"]) <= known
    assert set(told["resolutions"]) == {int(branch.split(":")[0]) for branch in told["branches"]}
    assert "takes no branch within the ceiling 0.01" in refused(*train, "--ceiling", 0.01, "--out", tmp_path / "no")


def test_the_way_to_the_end_is_shown_on_stderr(adainf, network, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr("adainf.training.progress._SECONDS_BETWEEN_LINES", 0)
    status, printed, said = adainf("train", *network, "--images", pictures, "--steps", 3, "--out", tmp_path / "run")
    assert status == 0
    assert printed.startswith(str(tmp_path / "run"))
    assert said.count("\n") >= 1
    assert all(word in said for word in ("step 3", "loss", "agreement", "images a second", "0 s left"))
