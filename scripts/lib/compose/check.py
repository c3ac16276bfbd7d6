"""docker-compose.yml: valid by the specification's schema, and sound in what no schema sees."""

import json
import pathlib
import re
import sys

import jsonschema
import yaml

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent.parent
SCHEMA = json.loads((HERE / "compose-spec.json").read_text())


def expanded(text):
    """YAML 1.1 has merge keys, as Compose has."""
    return yaml.safe_load(text)


def by_schema(compose):
    errors = jsonschema.Draft7Validator(SCHEMA).iter_errors(compose)
    return [f"{'/'.join(map(str, error.path))}: {error.message}" for error in errors]


def of_dependencies(name, service, services):
    for other, how in service.get("depends_on", {}).items():
        if other not in services:
            yield f"{name} depends on {other}, which is no service"
            continue
        condition, target = how["condition"], services[other]
        if condition == "service_healthy" and "healthcheck" not in target:
            yield f"{name} waits for the health of {other}, which has no health check"
        if condition == "service_completed_successfully" and target.get("restart") != "no":
            yield f"{name} waits for the end of {other}, which is restarted"


def of_service(name, service, compose, settings):
    for port in service.get("ports", []):
        if not port.startswith("127.0.0.1:"):
            yield f"{name} publishes {port} beyond loopback"
    for volume in service.get("volumes", []):
        if volume.split(":")[0] not in compose["volumes"]:
            yield f"{name} mounts {volume}, which is no named volume"
    if not re.search(r":[\w.$\-{}:]+$", service["image"]) or service["image"].endswith(":latest"):
        yield f"{name}: the image {service['image']} has no version"
    if service["image"].startswith("runnel:"):
        unknown = set(service.get("environment", {})) - settings
        yield from (f"{name}: {one} does not stand in .env.example" for one in sorted(unknown))
    yield from of_dependencies(name, service, compose["services"])


def findings(text, settings):
    compose = expanded(text)
    found = by_schema(compose)
    if found:
        return found
    for name, service in compose["services"].items():
        found.extend(of_service(name, service, compose, settings))
    secrets = re.findall(r"\$\{(\w*PASSWORD\w*)([^}]*)\}", text)
    found.extend(f"{name} has a default" for name, rest in secrets if not rest.startswith(":?"))
    made = set(re.findall(r"for name in ([A-Z_ ]+);", (ROOT / "scripts/compose-env").read_text())[0].split())
    asked = {name for name, _ in secrets}
    found.extend(f"scripts/compose-env and the file differ in {name}" for name in sorted(made ^ asked))
    return found


def must_be_caught(text, settings):
    """A check that cannot fail says nothing: each planted fault has to be found."""
    planted = {
        "an unknown key": ("restart: unless-stopped", "restarts: unless-stopped"),
        "a wrong condition": ("service_completed_successfully", "service_completed"),
        "an undeclared volume": ("volumes: [\"kafka:", "volumes: [\"broker:"),
        "an open port": ("127.0.0.1:8080:8080", "8080:8080"),
        "a default password": ("${REDIS_PASSWORD:?run scripts/compose-env >.env}", "${REDIS_PASSWORD:-x}"),
        "an unknown setting": ("ADMIN_LISTEN:", "ADMIN_LISTENS:"),
        "a loose image": ("redis:8.2-bookworm", "redis:latest"),
    }
    for fault, (right, wrong) in planted.items():
        if right not in text:
            yield f"{fault} cannot be planted"
        elif not findings(text.replace(right, wrong), settings):
            yield f"{fault} is not caught"


def main():
    text = (ROOT / "docker-compose.yml").read_text()
    example = (ROOT / ".env.example").read_text()
    settings = set(re.findall(r"^#?([A-Z][A-Z0-9_]*)=", example, re.MULTILINE))
    found = findings(text, settings) or list(must_be_caught(text, settings))
    for one in found:
        print(f"docker-compose.yml: {one}", file=sys.stderr)
    if not found:
        services = ", ".join(expanded(text)["services"])
        print(f"docker-compose.yml is valid and sound: {services}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
