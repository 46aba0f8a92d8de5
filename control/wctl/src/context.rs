//! Where the cluster is: a flag beats the environment, which beats the context file.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use weir_api::routes;
use weir_client::{Client, Options};

use crate::{
    args::Global,
    exit::Exit,
    failure::{Failure, Result},
};

/// The longest context file or CA file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The context file, `~/.config/weir/context.toml`; every key is optional.
#[derive(Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct ContextFile {
    /// One address or several.
    addr: Option<OneOrMany>,
    /// The bearer token.
    token: Option<String>,
    /// The path of the CA certificate, relative to the file.
    ca: Option<PathBuf>,
    /// The namespace.
    namespace: Option<String>,
}

#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// Everything that is needed to talk to a cluster; flags and environment are merged by the argument parser already.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Context {
    pub(crate) addresses: Vec<String>,
    pub(crate) token: Option<String>,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) namespace: String,
}

impl Context {
    /// Merges the flags with the user's context file, if there is one.
    pub(crate) fn load(global: &Global) -> Result<Self> {
        let path = default_path();
        let text = match &path {
            Some(path) if path.exists() => Some(read_text(path)?),
            Some(_) | None => None,
        };
        Self::merge(global, text.as_deref(), path.as_deref().unwrap_or(Path::new("")))
    }

    fn merge(global: &Global, file: Option<&str>, path: &Path) -> Result<Self> {
        let file: ContextFile = file
            .map(toml::from_str)
            .transpose()
            .map_err(|error: toml::de::Error| {
                Failure::usage(format!("failed to read the context file {}: {}", path.display(), error.message()))
                    .hint("it may set addr, token, ca and namespace")
            })?
            .unwrap_or_default();
        let namespace = global.namespace.clone().or(file.namespace);
        let namespace = namespace.unwrap_or_else(|| routes::NAMESPACE_DEFAULT.to_owned());
        weir_api::spec::check_name(&namespace).map_err(|reason| Failure::usage(format!("the namespace {reason}")))?;
        let addresses = match (global.addr.is_empty(), file.addr) {
            (false, _) => global.addr.clone(),
            (true, Some(OneOrMany::One(address))) => vec![address],
            (true, Some(OneOrMany::Many(addresses))) => addresses,
            (true, None) => vec![format!("http://127.0.0.1:{}", routes::HTTP_PORT)],
        };
        if let Some(bare) = addresses.iter().find(|address| !address.contains("://")) {
            return Err(Failure::usage(format!("the address `{bare}` says neither http:// nor https://"))
                .hint(format!("did you mean http://{bare}?")));
        }
        let beside = path.parent().unwrap_or(Path::new(""));
        Ok(Self {
            addresses,
            token: global.token.clone().or(file.token),
            ca: global.ca.clone().or_else(|| file.ca.map(|ca| beside.join(ca))),
            namespace,
        })
    }

    /// Makes a client; nothing is sent yet.
    pub(crate) fn client(&self) -> Result<Client> {
        let ca_pem = self.ca.as_deref().map(read_text).transpose()?.map(String::into_bytes);
        let options = Options { addresses: self.addresses.clone(), token: self.token.clone(), ca_pem };
        Ok(Client::new(options)?)
    }
}

fn default_path() -> Option<PathBuf> {
    let config = std::env::var_os("XDG_CONFIG_HOME").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let config = config.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".config")))?;
    Some(config.join("weir/context.toml"))
}

fn read_text(path: &Path) -> Result<String> {
    let failed = |error| Failure::new(Exit::Usage, format!("failed to read {}", path.display())).because(error);
    let len = fs::metadata(path).map_err(failed)?.len();
    if len > FILE_BYTES_MAX {
        return Err(Failure::usage(format!("{} is too large: {len} bytes", path.display())));
    }
    fs::read_to_string(path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merge(global: &Global, file: Option<&str>) -> Result<Context> {
        Context::merge(global, file, Path::new("/home/u/.config/weir/context.toml"))
    }

    #[test]
    fn a_flag_beats_the_file_which_beats_the_default() {
        let file = "addr = \"https://a:1\"\ntoken = \"t\"\nca = \"ca.pem\"\nnamespace = \"team\"\n";
        let none = Global::default();
        let flags = Global {
            addr: vec!["https://b:2".to_owned()],
            token: Some("u".to_owned()),
            ca: Some("/x.pem".into()),
            namespace: Some("mine".to_owned()),
            ..Global::default()
        };
        let context = merge(&none, None).unwrap();
        assert_eq!(
            (context.addresses, context.namespace),
            (vec!["http://127.0.0.1:4640".to_owned()], "default".to_owned())
        );
        let context = merge(&none, Some(file)).unwrap();
        assert_eq!(context.addresses, ["https://a:1"]);
        assert_eq!(context.ca.unwrap(), Path::new("/home/u/.config/weir/ca.pem"));
        assert_eq!((context.token.unwrap().as_str(), context.namespace.as_str()), ("t", "team"));
        let context = merge(&flags, Some(file)).unwrap();
        assert_eq!(context.addresses, ["https://b:2"]);
        assert_eq!(context.ca.unwrap(), Path::new("/x.pem"));
        assert_eq!((context.token.unwrap().as_str(), context.namespace.as_str()), ("u", "mine"));
    }

    #[test]
    fn an_address_without_a_scheme_gets_a_suggestion() {
        let global = Global { addr: vec!["127.0.0.1:17640".to_owned()], ..Global::default() };
        let text = merge(&global, None).unwrap_err().render(false, false);
        assert!(text.contains("did you mean http://127.0.0.1:17640?"), "{text}");
    }

    #[test]
    fn mistakes_are_usage_errors() {
        for file in ["adr = \"x\"", "addr = 1", "[addr"] {
            assert_eq!(merge(&Global::default(), Some(file)).unwrap_err().exit(), Exit::Usage, "{file}");
        }
        let global = Global { namespace: Some("A/b".to_owned()), ..Global::default() };
        assert_eq!(merge(&global, None).unwrap_err().exit(), Exit::Usage);
    }
}
