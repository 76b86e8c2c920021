//! Values that say where something is: addresses to bind, endpoints.

use toml::de::DeTable;

use super::{
    source::Place,
    value::{Input, Raw, Value, Values},
};
use crate::{
    address,
    keys::{Default, Key, Section},
    model::{Address, Endpoint, EndpointAddress},
};

impl Values<'_> {
    /// A single address to listen on.
    pub(crate) fn bind(&mut self, key: &Key, input: &Input<'_>) -> Option<(Address, Place)> {
        match &input.raw {
            Raw::Text(text) => self.item(input, text, address::parse_bind),
            Raw::Integer(n) => {
                self.unexpected(key, input, "an address", Some(format!("write \":{n}\" for port {n} on every address")))
            }
            _ => self.unexpected(key, input, "an address such as \":8080\"", None),
        }
    }

    pub(crate) fn binds(&mut self, key: &Key, input: &Input<'_>) -> Option<Value> {
        let all = match &input.raw {
            Raw::Text(text) if text.is_loose => self.split(input, text, address::parse_bind)?,
            Raw::Array(array) => {
                let read = array.iter().map(|item| {
                    let item = self.input(item)?;
                    self.bind(key, &item)
                });
                // Every item is looked at before the first failure counts.
                read.collect::<Vec<_>>().into_iter().collect::<Option<Vec<_>>>()?
            }
            _ => vec![self.bind(key, input)?],
        };
        if all.is_empty() {
            self.findings.error(
                input.place.clone(),
                "a listener needs an address",
                Some("write bind = \":8080\"".to_owned()),
            );
            return None;
        }
        Some(Value::Addresses(all))
    }

    pub(crate) fn endpoint_address(&mut self, key: &Key, input: &Input<'_>) -> Option<EndpointAddress> {
        let text = self.expect_text(key, input)?;
        self.checked(input, text, address::parse_endpoint(&text.text))
    }

    pub(crate) fn endpoints(&mut self, key: &Key, section: &'static Section, input: &Input<'_>) -> Option<Value> {
        match &input.raw {
            Raw::Text(text) if text.is_loose => {
                let all = self.split(input, text, address::parse_endpoint)?;
                Some(Value::Endpoints(all.into_iter().map(|(address, place)| (plain(address), place)).collect()))
            }
            Raw::Text(text) => {
                let help = format!("write [\"{}\"]", text.text);
                self.unexpected(key, input, "a list of addresses", (text.text.len() < 80).then_some(help))
            }
            Raw::Array(array) => {
                let read = array.iter().map(|item| {
                    let item = self.input(item)?;
                    let endpoint = self.endpoint(section, &item)?;
                    Some((endpoint, item.place))
                });
                read.collect::<Vec<_>>().into_iter().collect::<Option<Vec<_>>>().map(Value::Endpoints)
            }
            _ => self.unexpected(key, input, "a list of addresses", None),
        }
    }

    fn endpoint(&mut self, section: &'static Section, input: &Input<'_>) -> Option<Endpoint> {
        match &input.raw {
            Raw::Text(text) => self.checked(input, text, address::parse_endpoint(&text.text)).map(plain),
            Raw::Table(table) => self.endpoint_table(section, input, table),
            other => {
                let message = format!("an endpoint is an address or a table, not {}", other.kind());
                let help = "write \"IP:port\" or { address = \"IP:port\", weight = 2 }";
                self.findings.error(input.place.clone(), message, Some(help.to_owned()));
                None
            }
        }
    }

    fn endpoint_table(
        &mut self,
        section: &'static Section,
        input: &Input<'_>,
        table: &DeTable<'_>,
    ) -> Option<Endpoint> {
        self.unknown_keys(section, table, "an endpoint");
        let (mut address, mut is_whole) = (None, true);
        let (mut weight, mut max_connections) = (1, None);
        for key in section.keys {
            let Some(value) = table.get(key.name) else {
                if matches!(key.default, Default::Required) {
                    self.missing(input.place.clone(), key, "an endpoint", Some(table));
                }
                continue;
            };
            match (key.name, self.input(value).and_then(|input| self.read(key, &input))) {
                ("address", Some(Value::EndpointAddress(read))) => address = Some(read),
                ("weight", Some(Value::Integer(n))) => weight = u16::try_from(n).ok()?,
                ("max_connections", Some(Value::Limit(n))) => max_connections = n.and_then(|n| u32::try_from(n).ok()),
                _ => is_whole = false,
            }
        }
        is_whole.then_some(Endpoint { address: address?, weight, max_connections })
    }
}

fn plain(address: EndpointAddress) -> Endpoint {
    Endpoint { address, weight: 1, max_connections: None }
}
