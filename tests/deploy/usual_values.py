"""What users of common charts write: value → the values, and what is so only with them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from tests.deploy.tools import Rendered

__all__ = ["TOLERATION", "USUAL", "Check", "first"]

Values = dict[str, Any]
Check = Callable[[Rendered], object]

SECRET = {"secretKeyRef": {"name": "proxy", "key": "url"}}
TOLERATION = {"key": "feeds", "operator": "Exists"}
SPREAD = {"maxSkew": 2, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}
AFFINITY = {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}
VOLUME = {"name": "data", "emptyDir": {}}
PEER = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}
RELABELING = {"sourceLabels": ["pod"], "targetLabel": "node", "replacement": "$1"}
OWN_RULE = {"alert": "Own", "expr": "vector(1)"}
INGRESS = {"enabled": True, "hosts": [{"host": "ticks.example.com"}]}
SIDECAR = {"name": "side", "image": "example.com/side:1"}


def on(section: str, **values: Any) -> Values:
    """A section of the values, turned on."""
    return {section: {"enabled": True} | values}


web = partial(on, "web", existingSecret={"name": "tokens"})
parquet = partial(on, "parquet")
monitor, rules, dashboard = (partial(on, section) for section in ("serviceMonitor", "prometheusRule", "dashboard"))


def first(**values: Any) -> Values:
    """The settings of one connector."""
    return {"connectors": [{"name": "coinbase", "exchange": "coinbase", "pairs": ["BTC-USD"]} | values]}


def every_pod(has: Callable[[dict[str, Any]], object]) -> Check:
    return lambda found: all(has(spec) for spec in found.pod_specs(workloads=True))


def every_main(has: Callable[[dict[str, Any]], object]) -> Check:
    return lambda found: all(has(spec["containers"][0]) for spec in found.pod_specs(workloads=True))


def every_object(has: Callable[[dict[str, Any]], object]) -> Check:
    return lambda found: all(has(each["metadata"]) for each in found.manifests)


def images(*expected: str) -> Check:
    return lambda found: found.images() == set(expected)


def env(name: str, of: dict[str, Any]) -> Check:
    return every_main(lambda main: {"name": name} | of in main.get("env", []))


def placed(key: str, value: Any) -> Check:
    return every_pod(lambda spec: spec.get(key) == value)


USUAL: dict[str, tuple[Values, Check]] = {
    # names, labels, objects
    "nameOverride": (
        {"nameOverride": "feeds"},
        lambda m: m.main("connector")["metadata"]["name"] == "rel-feeds-coinbase",
    ),
    "fullnameOverride": (
        {"fullnameOverride": "feeds"},
        lambda m: m.main("connector")["metadata"]["name"] == "feeds-coinbase",
    ),
    "commonLabels": ({"commonLabels": {"team": "x"}}, every_object(lambda meta: meta["labels"]["team"] == "x")),
    "commonAnnotations": (
        {"commonAnnotations": {"example.com/owner": "x"}},
        every_object(lambda meta: meta["annotations"]["example.com/owner"] == "x"),
    ),
    "extraObjects": (
        {"extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-own"}}]},
        lambda m: m.named("ConfigMap", "rel-own"),
    ),
    "existingConfigMap": (
        {"connectors": [{"name": "own", "existingConfigMap": "mine"}]},
        lambda m: (
            m.volume("connector", "config")["configMap"] == {"name": "mine"}
            and not m.named("ConfigMap", "rel-tickbridge-own")
            and {"name": "TICKBRIDGE_HTTP__PORT", "value": "9108"} in m.container("connector")["env"]
        ),
    ),
    # image
    "image.registry": ({"image": {"registry": "r.example.com"}}, images("r.example.com/tickbridge:0.1.0")),
    "image.repository": ({"image": {"repository": "a/b"}}, images("a/b:0.1.0")),
    "image.tag": ({"image": {"tag": "2"}}, images("tickbridge:2")),
    "image.digest": ({"image": {"digest": f"sha256:{'a' * 64}"}}, images(f"tickbridge@sha256:{'a' * 64}")),
    "image.pullPolicy": ({"image": {"pullPolicy": "Always"}}, every_main(lambda c: c["imagePullPolicy"] == "Always")),
    "image.pullSecrets": ({"image": {"pullSecrets": ["r"]}}, placed("imagePullSecrets", [{"name": "r"}])),
    "imagePullSecrets": ({"imagePullSecrets": [{"name": "r"}]}, placed("imagePullSecrets", [{"name": "r"}])),
    "global.imagePullSecrets": ({"global": {"imagePullSecrets": ["r"]}}, placed("imagePullSecrets", [{"name": "r"}])),
    "global.imageRegistry": (
        {"global": {"imageRegistry": "g.example.com"}, "image": {"registry": "r.example.com"}},
        images("g.example.com/tickbridge:0.1.0"),
    ),
    "image of one connector": (
        first(image={"tag": "own"}),
        lambda m: (
            m.container("connector")["image"] == "tickbridge:own"
            and m.container("consumer")["image"] == "tickbridge:0.1.0"
        ),
    ),
    "the image for CCXT": (
        first(exchange="ccxt.kucoin"),
        lambda m: m.container("connector")["image"] == "tickbridge:0.1.0-ccxt",
    ),
    # the pod's environment
    "extraEnv": ({"extraEnv": [{"name": "A", "value": "b"}]}, env("A", {"value": "b"})),
    "extraEnv with valueFrom": ({"extraEnv": [{"name": "A", "valueFrom": SECRET}]}, env("A", {"valueFrom": SECRET})),
    "env as a list": (
        first(env=[{"name": "A", "value": "b"}]),
        lambda m: m.container("connector")["env"] == [{"name": "A", "value": "b"}],
    ),
    "env as a mapping": (
        first(env={"A": "b"}),
        lambda m: m.container("connector")["env"] == [{"name": "A", "value": "b"}],
    ),
    "extraEnvFrom": (
        {"extraEnvFrom": [{"secretRef": {"name": "s"}}]},
        every_main(lambda c: c["envFrom"] == [{"secretRef": {"name": "s"}}]),
    ),
    "extraArgs": ({"extraArgs": ["--json"]}, every_main(lambda c: c["args"][-1] == "--json")),
    "extraVolumes": ({"extraVolumes": [VOLUME]}, every_pod(lambda spec: VOLUME in spec["volumes"])),
    "extraVolumeMounts": (
        {"extraVolumes": [VOLUME], "extraVolumeMounts": [{"name": "data", "mountPath": "/data"}]},
        every_main(lambda c: {"name": "data", "mountPath": "/data"} in c["volumeMounts"]),
    ),
    "initContainers": ({"initContainers": [SIDECAR]}, placed("initContainers", [SIDECAR])),
    "sidecars": ({"sidecars": [SIDECAR]}, every_pod(lambda spec: spec["containers"][1:] == [SIDECAR])),
    "ca": (
        {"ca": {"configMap": "corporate"}},
        lambda m: (
            m.config("coinbase")["connectors"][0]["ca_file"] == "/run/tickbridge/ca/ca.crt"
            and m.volume("connector", "ca")["configMap"]["name"] == "corporate"
            and {"name": "ca", "mountPath": "/run/tickbridge/ca", "readOnly": True}
            in m.container("connector")["volumeMounts"]
        ),
    ),
    # annotations and labels
    "annotations": (
        {"annotations": {"a": "b"}},
        lambda m: all(each["metadata"]["annotations"]["a"] == "b" for each in m.workloads()),
    ),
    "podAnnotations": (
        {"podAnnotations": {"a": "b"}},
        lambda m: all(each["spec"]["template"]["metadata"]["annotations"]["a"] == "b" for each in m.workloads()),
    ),
    "podLabels": (
        {"podLabels": {"a": "b"}},
        lambda m: all(each["spec"]["template"]["metadata"]["labels"]["a"] == "b" for each in m.workloads()),
    ),
    "service.annotations": (
        {"service": {"annotations": {"a": "b"}}},
        lambda m: all(each["metadata"]["annotations"]["a"] == "b" for each in m.kind("Service")),
    ),
    "service.labels": (
        {"service": {"labels": {"a": "b"}}},
        lambda m: all(each["metadata"]["labels"]["a"] == "b" for each in m.kind("Service")),
    ),
    # where it runs
    "resources": (
        {"resources": {"limits": {"memory": "1Gi"}}},
        every_main(lambda c: c["resources"]["limits"]["memory"] == "1Gi"),
    ),
    "nodeSelector": ({"nodeSelector": {"pool": "x"}}, placed("nodeSelector", {"pool": "x"})),
    "tolerations": ({"tolerations": [TOLERATION]}, placed("tolerations", [TOLERATION])),
    "affinity": ({"affinity": AFFINITY}, placed("affinity", AFFINITY)),
    "topologySpreadConstraints": (
        {"topologySpreadConstraints": [SPREAD]},
        every_pod(lambda spec: [one for one in spec["topologySpreadConstraints"] if one.items() >= SPREAD.items()]),
    ),
    "priorityClassName": ({"priorityClassName": "high"}, placed("priorityClassName", "high")),
    "runtimeClassName": ({"runtimeClassName": "gvisor"}, placed("runtimeClassName", "gvisor")),
    "schedulerName": ({"schedulerName": "own"}, placed("schedulerName", "own")),
    "hostAliases": (
        {"hostAliases": [{"ip": "10.0.0.1", "hostnames": ["redis"]}]},
        placed("hostAliases", [{"ip": "10.0.0.1", "hostnames": ["redis"]}]),
    ),
    "dnsPolicy": ({"dnsPolicy": "Default"}, placed("dnsPolicy", "Default")),
    "dnsConfig": (
        {"dnsConfig": {"options": [{"name": "ndots", "value": "1"}]}},
        placed("dnsConfig", {"options": [{"name": "ndots", "value": "1"}]}),
    ),
    # security
    "podSecurityContext": (
        {"podSecurityContext": {"fsGroup": 5, "supplementalGroups": [7]}},
        every_pod(lambda spec: spec["securityContext"]["fsGroup"] == 5 and spec["securityContext"]["runAsNonRoot"]),
    ),
    "podSecurityContext without a user": (
        {"podSecurityContext": {"runAsUser": None, "runAsGroup": None, "fsGroup": None}},
        every_pod(
            lambda spec: spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
        ),
    ),
    "global.compatibility.openshift": (
        {"global": {"compatibility": {"openshift": {"adaptSecurityContext": "force"}}}},
        every_pod(lambda spec: not spec["securityContext"].keys() & {"runAsUser", "runAsGroup", "fsGroup"}),
    ),
    "securityContext": (
        {"securityContext": {"capabilities": {"add": ["NET_BIND_SERVICE"]}}},
        every_main(
            lambda c: (
                c["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}
                and c["securityContext"]["readOnlyRootFilesystem"]
            )
        ),
    ),
    "serviceAccount.name": ({"serviceAccount": {"name": "x"}}, placed("serviceAccountName", "x")),
    "serviceAccount.create": (
        {"serviceAccount": {"create": False}},
        lambda m: not m.kind("ServiceAccount") and placed("serviceAccountName", "default")(m),
    ),
    "serviceAccount.annotations": (
        {"serviceAccount": {"annotations": {"a": "b"}}},
        lambda m: m.kind("ServiceAccount")[0]["metadata"]["annotations"] == {"a": "b"},
    ),
    "serviceAccount.automount": (
        {"serviceAccount": {"automount": True}},
        lambda m: (
            all(spec["automountServiceAccountToken"] for spec in m.pod_specs(workloads=True))
            and m.kind("ServiceAccount")[0]["automountServiceAccountToken"]
        ),
    ),
    # life
    "startupProbe": (
        {"startupProbe": {"failureThreshold": 99}},
        every_main(lambda c: c["startupProbe"]["failureThreshold"] == 99 and c["startupProbe"]["httpGet"]),
    ),
    "livenessProbe": (
        {"livenessProbe": {"timeoutSeconds": 9}},
        every_main(lambda c: c["livenessProbe"]["timeoutSeconds"] == 9 and c["livenessProbe"]["periodSeconds"] == 10),
    ),
    "livenessProbe.enabled": (
        {"livenessProbe": {"enabled": False}},
        every_main(lambda c: "livenessProbe" not in c and "readinessProbe" in c),
    ),
    "readinessProbe": (
        {"readinessProbe": {"initialDelaySeconds": 3}},
        every_main(lambda c: c["readinessProbe"]["initialDelaySeconds"] == 3),
    ),
    "lifecycle": (
        {"lifecycle": {"preStop": {"sleep": {"seconds": 1}}}},
        every_main(lambda c: c["lifecycle"] == {"preStop": {"sleep": {"seconds": 1}}}),
    ),
    "updateStrategy": (
        {"updateStrategy": {"type": "OnDelete"}},
        lambda m: m.main("connector")["spec"]["updateStrategy"] == {"type": "OnDelete"},
    ),
    "updateStrategy of one consumer": (
        {"consumers": [{"name": "b", "service": "books", "updateStrategy": {"type": "RollingUpdate"}}]},
        lambda m: m.main("consumer")["spec"]["strategy"] == {"type": "RollingUpdate"},
    ),
    "revisionHistoryLimit": (
        {"revisionHistoryLimit": 0},
        lambda m: all(each["spec"]["revisionHistoryLimit"] == 0 for each in m.workloads()),
    ),
    "terminationGracePeriodSeconds": (
        {"terminationGracePeriodSeconds": 77},
        placed("terminationGracePeriodSeconds", 77),
    ),
    # network
    "networkPolicy.enabled": ({"networkPolicy": {"enabled": False}}, lambda m: not m.kind("NetworkPolicy")),
    "networkPolicy.extraIngress": (
        {"networkPolicy": {"extraIngress": [{"from": [PEER]}]}},
        lambda m: all({"from": [PEER]} in m.policy(name)["ingress"] for name in ("connectors", "consumers")),
    ),
    "networkPolicy.extraEgress": (
        {"networkPolicy": {"extraEgress": [{"to": [PEER]}]}},
        lambda m: all({"to": [PEER]} in m.policy(name)["egress"] for name in ("connectors", "consumers")),
    ),
    "networkPolicy.metrics.from": (
        {"networkPolicy": {"metrics": {"from": [PEER]}}},
        lambda m: PEER in m.policy("connectors")["ingress"][0]["from"],
    ),
    "web.httpService.type": (
        web(httpService={"type": "LoadBalancer"}),
        lambda m: m.named("Service", "rel-tickbridge-consumer-web")["spec"]["type"] == "LoadBalancer",
    ),
    "web.httpService.port": (
        web(httpService={"port": 8080}),
        lambda m: m.named("Service", "rel-tickbridge-consumer-web")["spec"]["ports"][0]["port"] == 8080,
    ),
    "web.httpService.nodePort": (
        web(httpService={"type": "NodePort", "nodePort": 30080}),
        lambda m: m.named("Service", "rel-tickbridge-consumer-web")["spec"]["ports"][0]["nodePort"] == 30080,
    ),
    "web.httpService.annotations": (
        web(httpService={"annotations": {"a": "b"}}),
        lambda m: m.named("Service", "rel-tickbridge-consumer-web")["metadata"]["annotations"] == {"a": "b"},
    ),
    "web.replicaCount": (
        web(replicaCount=3),
        lambda m: m.named("Deployment", "rel-tickbridge-consumer-web")["spec"]["replicas"] == 3,
    ),
    "web.ingress.hosts": (
        web(ingress=INGRESS),
        lambda m: (
            m.kind("Ingress")[0]["spec"]["rules"][0]["host"] == "ticks.example.com"
            and "--host=ticks.example.com" in m.consumer("web")["args"]
        ),
    ),
    "web.ingress.className": (
        web(ingress=INGRESS | {"className": "nginx"}),
        lambda m: m.kind("Ingress")[0]["spec"]["ingressClassName"] == "nginx",
    ),
    "web.ingress.annotations": (
        web(ingress=INGRESS | {"annotations": {"nginx.ingress.kubernetes.io/proxy-buffering": "off"}}),
        lambda m: "nginx.ingress.kubernetes.io/proxy-buffering" in m.kind("Ingress")[0]["metadata"]["annotations"],
    ),
    "web.ingress.tls": (
        web(ingress=INGRESS | {"tls": [{"secretName": "t", "hosts": ["ticks.example.com"]}]}),
        lambda m: m.kind("Ingress")[0]["spec"]["tls"][0]["secretName"] == "t",
    ),
    "networkPolicy.web.from": (
        web() | {"networkPolicy": {"web": {"from": [PEER]}}},
        lambda m: m.policy("web")["ingress"][0]["from"] == [PEER],
    ),
    "parquet.persistence.size": (
        parquet(persistence={"size": "7Gi"}),
        lambda m: m.kind("PersistentVolumeClaim")[0]["spec"]["resources"]["requests"] == {"storage": "7Gi"},
    ),
    "parquet.persistence.storageClassName": (
        parquet(persistence={"storageClassName": "fast"}),
        lambda m: m.kind("PersistentVolumeClaim")[0]["spec"]["storageClassName"] == "fast",
    ),
    "parquet.persistence.existingClaim": (
        parquet(persistence={"existingClaim": "mine"}),
        lambda m: (
            not m.kind("PersistentVolumeClaim")
            and {"name": "files", "persistentVolumeClaim": {"claimName": "mine"}}
            in m.consumer_spec("parquet")["volumes"]
        ),
    ),
    # monitoring
    "serviceMonitor.namespace": (
        monitor(namespace="mon"),
        lambda m: (
            m.kind("ServiceMonitor")[0]["metadata"]["namespace"] == "mon"
            and m.kind("ServiceMonitor")[0]["spec"]["namespaceSelector"] == {"matchNames": ["default"]}
        ),
    ),
    "serviceMonitor.interval": (monitor(interval="5s"), lambda m: m.endpoint()["interval"] == "5s"),
    "serviceMonitor.scrapeTimeout": (monitor(scrapeTimeout="4s"), lambda m: m.endpoint()["scrapeTimeout"] == "4s"),
    "serviceMonitor.relabelings": (
        monitor(relabelings=[RELABELING]),
        lambda m: m.endpoint()["relabelings"] == [RELABELING],
    ),
    "serviceMonitor.metricRelabelings": (
        monitor(metricRelabelings=[RELABELING]),
        lambda m: m.endpoint()["metricRelabelings"] == [RELABELING],
    ),
    "serviceMonitor.honorLabels": (monitor(honorLabels=True), lambda m: m.endpoint()["honorLabels"] is True),
    "serviceMonitor.jobLabel": (
        monitor(jobLabel="app"),
        lambda m: m.kind("ServiceMonitor")[0]["spec"]["jobLabel"] == "app",
    ),
    "serviceMonitor.labels": (
        monitor(labels={"release": "p"}),
        lambda m: m.kind("ServiceMonitor")[0]["metadata"]["labels"]["release"] == "p",
    ),
    "prometheusRule.namespace": (
        rules(namespace="mon"),
        lambda m: m.kind("PrometheusRule")[0]["metadata"]["namespace"] == "mon",
    ),
    "prometheusRule.rules": (
        rules(rules=[OWN_RULE]),
        lambda m: (
            m.kind("PrometheusRule")[0]["spec"]["groups"][-1] == {"name": "rel-tickbridge-own", "rules": [OWN_RULE]}
        ),
    ),
    "prometheusRule.runbookUrl": (
        rules(runbookUrl="https://wiki.example.com/feeds"),
        lambda m: {url.partition("#")[0] for url in m.runbooks()} == {"https://wiki.example.com/feeds"},
    ),
    "dashboard.namespace": (
        dashboard(namespace="mon"),
        lambda m: m.named("ConfigMap", "rel-tickbridge-dashboard")["metadata"]["namespace"] == "mon",
    ),
    "dashboard.annotations": (
        dashboard(annotations={"grafana_folder": "Feeds"}),
        lambda m: (
            m.named("ConfigMap", "rel-tickbridge-dashboard")["metadata"]["annotations"] == {"grafana_folder": "Feeds"}
        ),
    ),
}
