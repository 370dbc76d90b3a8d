"""Where weights lie."""

from __future__ import annotations

from tilth_engine.backbones import catalogue, places, store


def test_the_files_that_an_id_means(monkeypatch, tmp_path):
    monkeypatch.setenv("TILTH_HOME", str(tmp_path))
    assert places.files_of("presto") == []
    for name in ("presto", "prithvi-2-300m-tl", "timm:vit_s.a", "timm:vit_s.b", "timm:vit_small.a"):
        places.folder_of(name).mkdir(parents=True)
        (places.folder_of(name) / places.WEIGHTS).touch()

    def found(name):
        return [path.parent.name for path in places.files_of(name)]

    assert store.folder(catalogue.card_of("presto")) == places.files_of("presto")[0].parent
    assert found("prithvi-2-300m") == found("none") == []
    assert found("timm:vit_s.a") == ["timm-vit_s.a"]
    assert found("timm:vit_s") == ["timm-vit_s.a", "timm-vit_s.b"]  # timm knows which one it is
