"""Values for each of the chart's features, alone and all at once."""

from typing import Any

Values = dict[str, Any]

_PEER = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "there"}}}
_EVERYWHERE = {"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}
_OWN_REDIS = {"enabled": True, "auth": {"generate": True}}
_SMALL = {"requests": {"cpu": "1", "memory": "1Gi"}}
BUILD = {"name": "news", "text": ["/data/text/*.gz"], "output": "/data/built/news"}
TRAIN = {**BUILD, "valid": ["/data/valid.txt"]}
SCORE = {**BUILD, "model": "/data/built/news"}
PUBLISH = {"name": "news", "model": "/data/built/news", "to": "/data/models"}
_EXTRA = {
    "extraEnv": [{"name": "A", "value": "1"}, {"name": "LMSERVE_DRAIN_S", "value": "77"}],
    "extraEnvFrom": [{"configMapRef": {"name": "more"}}],
    "extraVolumes": [{"name": "more", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
}
_PLACED = {
    "nodeSelector": {"pool": "language"},
    "tolerations": [{"key": "language", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "high",
    "runtimeClassName": "gvisor",
    "schedulerName": "other",
    "topologySpreadConstraints": [
        {"maxSkew": 2, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule"}
    ],
}
_URL_MODEL: Values = {
    "serving": {"model": {"location": "s3://models/published?region=eu-central-1"}},
    "storage": {"persistence": {"enabled": False}, "existingSecret": "store"},
    "networkPolicy": {"storage": _EVERYWHERE},
}

# Each beside the chart's own values.
FEATURES: dict[str, Values] = {
    "nothing": {"serving": {"enabled": False}, "storage": {"persistence": {"enabled": False}}},
    "names": {
        "nameOverride": "scores",
        "commonLabels": {"a": "1"},
        "commonAnnotations": {"b": "2"},
    },
    "full name": {"fullnameOverride": "a" * 47, "redis": _OWN_REDIS},
    "image": {
        "image": {
            "registry": "registry.example.org:5000",
            "digest": "sha256:" + "0" * 64,
            "pullPolicy": "Always",
            "pullSecrets": ["registry"],
        }
    },
    "own token": {"auth": {"existingSecret": "token"}},
    "made token": {"auth": {"generate": True}},
    "no token": {"auth": {"mode": "disabled"}},
    "account": {"serviceAccount": {"annotations": {"cloud": "role"}}},
    "other account": {"serviceAccount": {"create": False, "name": "there"}},
    "rights": {
        "rbac": {
            "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}],
            "jobRunners": [
                {"kind": "Group", "name": "people", "apiGroup": "rbac.authorization.k8s.io"}
            ],
        }
    },
    "claim": {
        "storage": {"persistence": {"storageClass": "fast", "accessModes": ["ReadWriteMany"]}}
    },
    "own claim": {"storage": {"persistence": {"existingClaim": "there"}}},
    "object store": _URL_MODEL,
    "unverified": {"serving": {"model": {"verify": False}}},
    "redis": {"redis": _OWN_REDIS},
    "redis for ray alone": {"redis": {**_OWN_REDIS, "forService": False}},
    "redis for the service alone": {"redis": {**_OWN_REDIS, "gcsFaultTolerance": False}},
    "redis with existing secrets": {
        "redis": {
            "enabled": True,
            "auth": {"existingSecret": "redis", "key": "pass"},
            "tls": {"enabled": True, "existingSecret": "redis-tls"},
            "persistence": {"enabled": False},
            "extraConfig": "io-threads 2\n",
            "sidecars": [{"name": "exporter", "image": "exporter:1"}],
        }
    },
    "other redis": {
        "redis": {
            "externalUrl": "rediss://someone@redis.example.org:6380/3",
            "auth": {"existingSecret": "redis"},
            "tls": {"existingSecret": "ca"},
        },
        "networkPolicy": {"redis": {"to": [_PEER]}},
    },
    "redis by sentinels": {
        "redis": {
            "externalUrl": "redis+sentinel://one,two:26379/scores",
            "gcsFaultTolerance": False,
        },
        "networkPolicy": {"redis": {"to": [_PEER]}},
    },
    "extras of all pods": {"pods": _EXTRA},
    "places of all pods": {"pods": _PLACED},
    "own containers": {
        "pods": {
            "initContainers": [{"name": "first", "image": "first:1"}],
            "sidecars": [{"name": "logs", "image": "logs:1"}],
            "sharedMemorySizeLimit": "2Gi",
            "labels": {"c": "3"},
            "annotations": {"d": "4"},
        }
    },
    "extras of a group": {
        "serving": {
            "workerGroups": [
                {"name": "one", "role": "serve", "resources": _SMALL, **_EXTRA, **_PLACED},
                {
                    "name": "two",
                    "resources": {"limits": {"nvidia.com/gpu": 1}},
                    "replicas": 0,
                    "minReplicas": 0,
                    "maxReplicas": 3,
                    "podLabels": {"e": "5"},
                    "podAnnotations": {"f": "6"},
                    "terminationGracePeriodSeconds": 99,
                    "idleTimeoutSeconds": 7,
                    "rayStartParams": {"num-cpus": "3"},
                },
            ]
        }
    },
    "several replicas": {"serving": {"replicas": 3}},
    "replicas that scale": {
        "serving": {
            "autoscaling": {"enabled": True, "minReplicas": 0, "targetOngoingRequests": 2.5}
        }
    },
    "nodes that scale": {"serving": {"nodeAutoscaling": {"enabled": True}}},
    "any node": {"serving": {"role": ""}},
    "head alone": {"serving": {"workerGroups": [], "head": {"role": "serve"}}},
    "protection": {
        "serving": {
            "protection": {
                "OPEN_PATHS": ["/healthz", "/readyz"],
                "CLIENT_REQUESTS_PER_S": 0.5,
                "CLIENT_BURST": 3,
                "CLIENT_WORDS_PER_MIN": 2500000,
                "FORWARDED_HOPS": 1,
                "MAX_CONCURRENT": 1000000,
                "MAX_QUEUED": 0,
                "MAX_QUEUE_S": 2.5,
                "MAX_STALL_S": 30,
                "MAX_TEXT_WORDS": 100,
                "ALLOWED_ORIGINS": ["https://a.example", "https://b.example"],
                "SECURITY_HEADERS": False,
                "LOG_CLIENT_ADDRESS": True,
            }
        }
    },
    "keys": {
        "serving": {"apiKeys": {"existingSecret": "keys"}},
        "tests": {"apiKey": {"existingSecret": "test"}},
    },
    "draining": {"serving": {"drainSeconds": 120}},
    "haproxy": {"serving": {"haproxy": True}},
    "traces": {
        "serving": {
            "otel": {"endpoint": "http://collector:4318", "headersSecret": {"name": "otel"}}
        },
        "networkPolicy": {"otel": {"to": [_PEER]}},
    },
    "incremental upgrades": {
        "serving": {
            "nodeAutoscaling": {"enabled": True},
            "upgradeStrategy": {
                "type": "NewClusterWithIncrementalUpgrade",
                "gatewayClassName": "istio",
            },
        },
        "networkPolicy": {"clients": [_PEER]},
    },
    "no upgrades": {"serving": {"upgradeStrategy": {"type": "None"}, "initializingTimeout": "30m"}},
    "disruption": {"serving": {"podDisruptionBudget": {"enabled": True, "minAvailable": 2}}},
    "build": {"jobs": {"build": [BUILD]}},
    "counts": {"jobs": {"counts": [BUILD]}},
    "train": {"jobs": {"train": [TRAIN]}},
    "score": {"jobs": {"score": [SCORE]}},
    "publish": {"jobs": {"publish": [PUBLISH]}},
    "jobs by http": {"jobs": {"defaults": {"submissionMode": "HTTPMode"}, "build": [BUILD]}},
    "job with all": {
        "jobs": {
            "build": [
                {
                    **BUILD,
                    "submissionMode": "SidecarMode",
                    "args": ["--order", 3, "--prune", "0 0 1"],
                    "role": "build",
                    "backoffLimit": 2,
                    "ttlSecondsAfterFinished": 0,
                    "activeDeadlineSeconds": 3600,
                    "suspend": True,
                    "labels": {"kueue.x-k8s.io/queue-name": "q"},
                    "annotations": {"g": "7"},
                    "extraEnv": [{"name": "H", "value": "8"}],
                    "nodeAutoscaling": {"enabled": True},
                    "workerGroups": [{"name": "b", "role": "build", "resources": _SMALL}],
                }
            ]
        }
    },
    "cluster": {"cluster": {"enabled": True}},
    "lasting cluster": {
        "cluster": {
            "enabled": True,
            "gcsFaultTolerance": True,
            "nodeAutoscaling": {"enabled": True},
        },
        "redis": _OWN_REDIS,
    },
    "no metrics": {"metrics": {"enabled": False}},
    "pod monitor": {"monitoring": {"podMonitor": {"enabled": True}, "labels": {"release": "p"}}},
    "service monitor": {"monitoring": {"serviceMonitor": {"enabled": True}, "cluster": "north"}},
    "rules": {"monitoring": {"prometheusRule": {"enabled": True}, "labels": {"release": "p"}}},
    "dashboards": {"monitoring": {"dashboards": {"enabled": True}}},
    "ingress": {
        "ingress": {
            "enabled": True,
            "className": "nginx",
            "hosts": ["a.example", "b.example"],
            "tls": [{"hosts": ["a.example"], "secretName": "tls"}],
        },
        "networkPolicy": {"clients": [_PEER]},
    },
    "ingress for any host": {"ingress": {"enabled": True}, "networkPolicy": {"clients": [_PEER]}},
    "route": {
        "httpRoute": {
            "enabled": True,
            "parentRefs": [{"name": "gateway", "namespace": "infra", "sectionName": "https"}],
            "hostnames": ["a.example"],
        },
        "networkPolicy": {"clients": [_PEER]},
    },
    "no policies": {"networkPolicy": {"enabled": False}},
    "policies": {
        "networkPolicy": {
            "dashboard": [_PEER],
            "storage": {**_EVERYWHERE, "ports": [443, 9000]},
            "extraEgress": [{"to": [_PEER]}],
            "extraIngress": [{"from": [_PEER]}],
        }
    },
    "no test": {"tests": {"enabled": False}},
    "further objects": {
        "extraObjects": [
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "{{ .Release.Name }}-x"},
            },
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: y}\n",
        ]
    },
}


def _laid_over(below: Values, above: Values) -> Values:
    merged = dict(below)
    for name, value in above.items():
        old = merged.get(name)
        both = isinstance(old, dict) and isinstance(value, dict)
        merged[name] = _laid_over(old, value) if both else value  # type: ignore[arg-type]
    return merged


def together(*names: str) -> Values:
    """Several features' values, those of later names over those of earlier ones."""
    merged: Values = {}
    for name in names:
        merged = _laid_over(merged, FEATURES[name])
    return merged


ALL_ON = together(
    *("names", "image", "own token", "account", "rights", "claim", "redis with existing secrets"),
    *("extras of all pods", "places of all pods", "own containers", "replicas that scale"),
    *("nodes that scale", "protection", "keys", "haproxy", "traces", "disruption", "build"),
    *("counts", "train", "score", "publish", "job with all", "cluster", "pod monitor", "rules"),
    *("dashboards", "ingress", "route", "policies", "further objects"),
)
ALL_OFF = together("nothing", "no policies", "no metrics", "no test", "no token") | {
    "serviceAccount": {"create": False},
    "rbac": {"create": False},
}
