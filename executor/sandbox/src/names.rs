//! Names that a guest asks for, answered from its pins: with all addresses of the name, so that it can try the next one.
//!
//! The interface that comes with wasmtime-wasi would ask the name servers of this machine.

use std::{net::IpAddr, vec};

use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource, ResourceType},
};
use wasmtime_wasi::{
    WasiView as _, async_trait,
    p2::{
        DynPollable, Network, Pollable,
        bindings::sockets::network::{ErrorCode, IpAddress},
        subscribe,
    },
};

use crate::{network::Pins, state::State};

/// The interface, in the version that this build provides.
const LOOKUP: &str = "wasi:sockets/ip-name-lookup@0.2.12";

/// The addresses of a name that the guest has not been given yet.
#[derive(Debug)]
struct Addresses(vec::IntoIter<IpAddr>);

#[async_trait]
impl Pollable for Addresses {
    /// They are known before the guest begins.
    async fn ready(&mut self) {}
}

impl Addresses {
    fn of(name: &str, pins: Option<&Pins>) -> Result<Self, ErrorCode> {
        let found = pins.map(|pins| pins.addresses(name)).filter(|found| !found.is_empty());
        found.map(|found| Self(found.into_iter())).ok_or(ErrorCode::AccessDenied)
    }
}

/// Replaces the interface that looks names up.
pub(crate) fn add_to_components(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    type Store<'a> = StoreContextMut<'a, State>;
    linker.allow_shadowing(true);
    let mut interface = linker.instance(LOOKUP)?;
    interface.resource("resolve-address-stream", ResourceType::host::<Addresses>(), |mut store: Store<'_>, rep| {
        store.data_mut().ctx().table.delete(Resource::<Addresses>::new_own(rep))?;
        Ok(())
    })?;
    interface.func_wrap(
        "resolve-addresses",
        |mut store: Store<'_>, (network, name): (Resource<Network>, String)| {
            let state = store.data_mut();
            let addresses = Addresses::of(&name, state.pins.as_ref());
            let table = state.ctx().table;
            table.get(&network)?;
            Ok((match addresses {
                Ok(addresses) => Ok(table.push(addresses)?),
                Err(error) => Err(error),
            },))
        },
    )?;
    interface.func_wrap(
        "[method]resolve-address-stream.resolve-next-address",
        |mut store: Store<'_>, (this,): (Resource<Addresses>,)| {
            let next = store.data_mut().ctx().table.get_mut(&this)?.0.next();
            Ok((Ok::<_, ErrorCode>(next.map(IpAddress::from)),))
        },
    )?;
    interface.func_wrap(
        "[method]resolve-address-stream.subscribe",
        |mut store: Store<'_>, (this,): (Resource<Addresses>,)| -> wasmtime::Result<(Resource<DynPollable>,)> {
            Ok((subscribe(store.data_mut().ctx().table, this)?,))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

#[cfg(test)]
mod tests {
    use weir_wire::worker::Pinned;

    use super::*;

    #[test]
    fn a_name_has_all_its_addresses_and_no_other_name_has_any() {
        let pins = Pins::default();
        let texts = ["192.0.2.1", "2001:db8::1", "192.0.2.2"];
        let pin =
            |port| Pinned { host: "Db.example".to_owned(), port, addresses: texts.map(ToOwned::to_owned).to_vec() };
        pins.set(vec![pin(443), pin(80)]);
        let of = |name| Addresses::of(name, Some(&pins)).map(|Addresses(rest)| rest.map(|address| address.to_string()));
        for name in ["db.example", "DB.EXAMPLE."] {
            assert_eq!(of(name).expect("granted").collect::<Vec<_>>(), texts);
        }
        assert!(matches!(of("other.example"), Err(ErrorCode::AccessDenied)));
        assert!(matches!(Addresses::of("db.example", None), Err(ErrorCode::AccessDenied)));
    }
}
