//! Values that say where something is: addresses to bind, endpoints.

use toml::de::DeTable;

use super::{
    source::Place,
    value::{Input, Raw, Text, Value, Values},
};
use crate::{
    address,
    diagnostic::Fault,
    keys::{Default, Key, Section},
    model::{Address, Endpoint, EndpointAddress},
};

type Parse = fn(&str) -> Result<Address, Fault>;

impl Values<'_> {
    /// A single address to listen on.
    pub(crate) fn bind(&mut self, key: &Key, input: &Input<'_>) -> Option<(Address, Place)> {
        match &input.raw {
            Raw::Text(text) => self.address(input, text, address::parse_bind),
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

    pub(crate) fn endpoint_address(&mut self, key: &Key, input: &Input<'_>) -> Option<(Address, Place)> {
        let text = self.expect_text(key, input)?;
        self.address(input, text, address::parse_endpoint)
    }

    pub(crate) fn endpoints(&mut self, key: &Key, section: &'static Section, input: &Input<'_>) -> Option<Value> {
        match &input.raw {
            Raw::Text(text) if text.is_loose => {
                let all = self.split(input, text, address::parse_endpoint)?;
                Some(Value::Endpoints(all.into_iter().map(|(address, place)| (unweighted(address), place)).collect()))
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
            Raw::Text(text) => {
                self.address(input, text, address::parse_endpoint).map(|(address, _)| unweighted(address))
            }
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
        let mut address = None;
        let mut weight = Some(1);
        for key in section.keys {
            let Some(value) = table.get(key.name) else {
                if matches!(key.default, Default::Required) {
                    self.missing(input.place.clone(), key, "an endpoint", Some(table));
                }
                continue;
            };
            let read = self.input(value).and_then(|input| self.read(key, &input));
            match (key.name, read) {
                ("address", Some(Value::Addresses(mut one))) => address = one.pop().map(|(address, _)| address),
                ("weight", Some(Value::Integer(n))) => weight = u16::try_from(n).ok(),
                ("weight", None) => weight = None,
                _ => {}
            }
        }
        Some(Endpoint { address: EndpointAddress::Address(address?), weight: weight?, max_connections: None })
    }

    fn address(&mut self, input: &Input<'_>, text: &Text<'_>, parse: Parse) -> Option<(Address, Place)> {
        self.checked(input, text, parse(&text.text)).map(|address| (address, input.place.clone()))
    }

    /// A list in one text, with commas in between.
    fn split(&mut self, input: &Input<'_>, text: &Text<'_>, parse: Parse) -> Option<Vec<(Address, Place)>> {
        let mut all = Some(Vec::new());
        let mut start = 0;
        for item in text.text.split(',') {
            let end = start + item.len();
            let trimmed = start + (item.len() - item.trim_start().len())..end - (item.len() - item.trim_end().len());
            let place = text.offset.map_or_else(
                || input.place.clone(),
                |o| input.place.part(trimmed.start + o..trimmed.end.max(trimmed.start + 1) + o),
            );
            start = end + 1;
            let parsed = parse(item.trim()).map_err(|fault| self.findings.fault(&place, text.offset.map(|_| 0), fault));
            match (parsed, &mut all) {
                (Ok(address), Some(all)) => all.push((address, place)),
                (Ok(_), None) => {}
                (Err(()), _) => all = None,
            }
        }
        all
    }
}

fn unweighted(address: Address) -> Endpoint {
    Endpoint { address: EndpointAddress::Address(address), weight: 1, max_connections: None }
}
