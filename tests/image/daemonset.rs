//! The DaemonSet of `deploy/base`, as options of a container runtime.
//!
//! Every field of a container and of its security context is translated or named here. A field that this does not know fails the test: it
//! would run something else than the cluster does.

use serde_json::Value;

/// Fields of a container that are no concern of the runtime, or that the test reads itself.
const FIELDS: [&str; 13] = [
    "name",
    "image",
    "imagePullPolicy",
    "args",
    "env",
    "envFrom",
    "securityContext",
    "volumeMounts",
    "startupProbe",
    "livenessProbe",
    "readinessProbe",
    "resources",
    "ports",
];

/// The capabilities that a runtime grants if it is told nothing.
const DEFAULT_CAPABILITIES: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// The pod's specification.
pub fn pod() -> Value {
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/base/daemonset.yaml")).expect("there");
    let object: Value = serde_saphyr::from_str(&text).expect("YAML");
    assert_eq!(object["spec"]["template"]["spec"]["hostNetwork"], true);
    object["spec"]["template"]["spec"].clone()
}

/// A container of the pod by its name, with the options of `ctr run` and its arguments.
pub struct Container {
    spec: Value,
    /// Options for its confinement and its environment.
    pub options: Vec<String>,
    /// Its arguments.
    pub args: Vec<String>,
}

impl Container {
    /// The container of this name, on a node of this name.
    pub fn of(pod: &Value, list: &str, name: &str, node: &str) -> Self {
        let containers = pod[list].as_array().expect("containers");
        let spec = containers.iter().find(|container| container["name"] == name).expect("the container").clone();
        for field in spec.as_object().expect("a container").keys() {
            assert!(FIELDS.contains(&field.as_str()), "the field {field} is not translated");
        }
        let mut options = confinement(&spec["securityContext"]);
        for variable in spec["env"].as_array().into_iter().flatten() {
            let value = variable["value"].as_str().unwrap_or(node);
            options.extend(["--env".to_owned(), format!("{}={value}", variable["name"].as_str().expect("a name"))]);
        }
        let args = spec["args"].as_array().expect("arguments").iter();
        let args = args.map(|arg| arg.as_str().expect("text").replace("$(NODE_NAME)", node)).collect();
        Self { spec, options, args }
    }

    /// Where the configuration is mounted.
    pub fn config_folder(&self) -> &str {
        let mounts = self.spec["volumeMounts"].as_array().expect("mounts");
        assert_eq!(mounts.len(), 1, "this test knows one volume");
        assert_eq!((&mounts[0]["name"], &mounts[0]["readOnly"]), (&"config".into(), &true.into()));
        mounts[0]["mountPath"].as_str().expect("a path")
    }

    /// Port and path of a probe.
    pub fn probe(&self, name: &str) -> (u16, &str) {
        let get = &self.spec[name]["httpGet"];
        let port = get["port"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port");
        (port, get["path"].as_str().expect("a path"))
    }
}

/// A security context as options of `ctr run`.
fn confinement(context: &Value) -> Vec<String> {
    let mut options = Vec::new();
    let is = |field: &str| context[field].as_bool().unwrap_or(false);
    for (field, value) in context.as_object().expect("a security context") {
        match field.as_str() {
            // The image's own user, which a test of the archives compares; this ctr has no option for another.
            "runAsUser" | "runAsGroup" if value == 0 => {}
            "privileged" if is("privileged") => options.push("--privileged".to_owned()),
            "privileged" => {}
            "allowPrivilegeEscalation" if !is("allowPrivilegeEscalation") => {}
            "readOnlyRootFilesystem" if is("readOnlyRootFilesystem") => options.push("--read-only".to_owned()),
            "capabilities" => {
                assert_eq!(value["drop"], serde_json::json!(["ALL"]));
                for name in DEFAULT_CAPABILITIES {
                    options.extend(["--cap-drop".to_owned(), format!("CAP_{name}")]);
                }
                for name in value["add"].as_array().expect("capabilities") {
                    options.extend(["--cap-add".to_owned(), format!("CAP_{}", name.as_str().expect("a name"))]);
                }
            }
            "seccompProfile" if value["type"] == "RuntimeDefault" => options.push("--seccomp".to_owned()),
            _ => panic!("the field {field} with {value} is not translated"),
        }
    }
    // A runtime forbids to gain privileges unless it is told otherwise; Kubernetes allows it unless it is told otherwise.
    if !context["allowPrivilegeEscalation"].is_boolean() && !is("privileged") {
        options.push("--allow-new-privs".to_owned());
    }
    options
}
