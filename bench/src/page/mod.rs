use crate::{failure::Failure, results::Duel};
use std::path::PathBuf;
#[derive(Debug, clap::Args)]
pub struct ReportArgs {
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}
pub(crate) fn command(_args: &ReportArgs) -> Result<(), Failure> {
    Ok(())
}
pub(crate) fn of_duel(_duel: &Duel) -> String {
    String::new()
}
