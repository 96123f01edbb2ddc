"""``python -m tests.manifests.renew``: write the Envoy configurations and the recorded renderings anew."""

from tests.manifests.built import SETS
from tests.manifests.envoy_files import FILES, written
from tests.manifests.goldens import GOLDEN, path_of, recorded

if __name__ == "__main__":
    for file, options in FILES.items():
        file.write_text(written(options))
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for name in SETS:
        path_of(name).write_text(recorded(name))
