use weir_api::FoundKind;
use weir_wire::limits::MODULE_LEN_MAX;

use crate::{
    args::{Global, ModuleCommand},
    exit::Exit,
    failure::Result,
    input, module_file,
    output::{Out, terminal},
    resolve,
    session::{Session, all_pages, block_on},
};

/// `wctl module`; what works on files needs no cluster.
pub(crate) fn module(global: &Global, command: ModuleCommand) -> Result<Exit> {
    match command {
        ModuleCommand::Validate { file } => {
            module_file::check(&input::read(&file, MODULE_LEN_MAX)?)?;
            terminal::note(&format!("{file} would be accepted"));
            Ok(Exit::Ok)
        }
        ModuleCommand::Inspect { target } if target == "-" || std::path::Path::new(&target).is_file() => {
            let module = module_file::inspect(&input::read(&target, MODULE_LEN_MAX)?)?;
            Out::new(global.format).object(&module)?;
            Ok(Exit::Ok)
        }
        ModuleCommand::Inspect { target } => block_on(async {
            let session = Session::open(global)?;
            let digest = resolve::name(&session, &target, FoundKind::Module).await?;
            session.out.object(&session.client.module(&digest).await?)?;
            Ok(Exit::Ok)
        }),
        ModuleCommand::Push { file } => block_on(async {
            let session = Session::open(global)?;
            let bytes = input::read(&file, MODULE_LEN_MAX)?;
            module_file::check(&bytes)?;
            let digest = input::digest(&bytes);
            session.out.object(&session.client.put_module(&digest, bytes).await?)?;
            Ok(Exit::Ok)
        }),
        ModuleCommand::List => block_on(async {
            let session = Session::open(global)?;
            let modules = all_pages(async |page| session.client.modules(page).await).await?;
            session.out.list(&modules)?;
            Ok(Exit::Ok)
        }),
    }
}
