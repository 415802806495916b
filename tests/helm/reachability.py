"""Who reaches whom, by the rules of NetworkPolicy, computed from the manifests."""

from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

from chart import NAMESPACE, Manifest, of_kind


@dataclass(frozen=True)
class Peer:
    """A pod, or an address outside.

    Attributes:
        labels: of the pod.
        namespace: its namespace; None: no pod.
        address: of what is no pod.
    """

    labels: dict[str, str] = field(default_factory=dict)
    namespace: str | None = NAMESPACE
    address: str | None = None


def matches(selector: Manifest, labels: dict[str, str]) -> bool:
    """Whether a label selector chooses these labels."""
    for name, value in selector.get("matchLabels", {}).items():
        if labels.get(name) != value:
            return False
    for rule in selector.get("matchExpressions", []):
        assert rule["operator"] == "Exists", "no other is used"
        if rule["key"] not in labels:
            return False
    return True


def _is(peer: Peer, told: Manifest) -> bool:
    if "ipBlock" in told:
        block = told["ipBlock"]
        if peer.address is None:
            return False
        place = ip_address(peer.address)
        excepted = any(place in ip_network(one) for one in block.get("except", []))
        return place in ip_network(block["cidr"]) and not excepted
    if peer.namespace is None:
        return False
    if "namespaceSelector" in told:
        labels = {"kubernetes.io/metadata.name": peer.namespace}
        if not matches(told["namespaceSelector"], labels):
            return False
    elif peer.namespace != NAMESPACE:
        return False
    return matches(told.get("podSelector", {}), peer.labels)


def _allows(rule: Manifest, direction: str, peer: Peer, port: int, protocol: str) -> bool:
    ports: list[Any] = rule.get("ports", [])
    fits = not ports or any((one["port"], one["protocol"]) == (port, protocol) for one in ports)
    peers: list[Any] = rule.get(direction, [])
    return fits and (not peers or any(_is(peer, one) for one in peers))


def _passes(
    policies: list[Manifest], kind: str, own: Peer, other: Peer, port: int, protocol: str
) -> bool:
    """Whether a pod's policies of one direction let something through."""
    if own.namespace != NAMESPACE:
        return True
    chosen = [
        policy["spec"]
        for policy in policies
        if kind in policy["spec"]["policyTypes"]
        and matches(policy["spec"]["podSelector"], own.labels)
    ]
    direction = {"Ingress": "from", "Egress": "to"}[kind]
    return not chosen or any(
        _allows(rule, direction, other, port, protocol)
        for spec in chosen
        for rule in spec.get(kind.lower(), [])
    )


def reaches(
    objects: list[Manifest], source: Peer, target: Peer, port: int, protocol: str = "TCP"
) -> bool:
    """Whether a connection is let out of its source and into its target."""
    policies = of_kind(objects, "NetworkPolicy")
    return _passes(policies, "Egress", source, target, port, protocol) and _passes(
        policies, "Ingress", target, source, port, protocol
    )
