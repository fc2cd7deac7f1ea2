//! `fabric policy`: what files of policies say, without the daemon, and which are in force.

mod audit;
mod enforced;
mod history;
mod live;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::ExitCode,
};

use api::Client;
use jiff::Timestamp;
use policy::{Explanation, Matrix, Outcome, Policies, Question, Warning, World, doubts, evaluate, warnings};

use self::live::Scene;
use crate::{
    arguments::{ExplainArguments, MatrixArguments, PolicyCommand, SceneArguments, TestArguments},
    failure::Failure,
    output::Output,
    policy_files::{self, Asked, PolicyFailure},
};

pub(super) async fn policy(client: &Client, output: Output, command: PolicyCommand) -> Result<ExitCode, Failure> {
    match command {
        PolicyCommand::Apply(arguments) => done(enforced::apply(client, output, arguments).await),
        PolicyCommand::Diff(arguments) => done(enforced::diff(client, output, arguments).await),
        PolicyCommand::Ls(arguments) => done(enforced::list(client, output, arguments).await),
        PolicyCommand::Inspect(names) => done(enforced::inspect(client, output, names).await),
        PolicyCommand::Rm(names) => done(enforced::remove(client, output, names).await),
        PolicyCommand::Audit(arguments) => done(audit::audit(client, output, arguments).await),
        PolicyCommand::History(arguments) => done(history::history(client, output, arguments).await),
        PolicyCommand::Rollback(arguments) => done(history::roll_back(client, output, arguments).await),
        PolicyCommand::Test(arguments) => test(client, output, arguments).await,
        PolicyCommand::Explain(arguments) => done(explain(client, output, arguments).await),
        PolicyCommand::Matrix(arguments) => done(matrix(client, output, arguments).await),
    }
}

fn done(result: Result<(), Failure>) -> Result<ExitCode, Failure> {
    result.map(|()| ExitCode::SUCCESS)
}

async fn test(client: &Client, output: Output, arguments: TestArguments) -> Result<ExitCode, Failure> {
    let TestArguments { file, live, network } = arguments;
    let mut suite = policy_files::suite(&file)?;
    if suite.expectations.is_empty() {
        return Err(PolicyFailure::NothingExpected(file).into());
    }
    // What a file names lies beside it.
    let beside = file.parent().unwrap_or(Path::new(""));
    let paths: Vec<PathBuf> = suite.policies.iter().map(|path| beside.join(path)).collect();
    let (policies, now) = match live {
        false => (policy_files::policies(&paths, network.as_ref())?, Timestamp::now()),
        true if suite.world != World::default() => return Err(PolicyFailure::TwoWorlds(file).into()),
        true => {
            let questions: Vec<Question> = suite.expectations.iter().map(|it| it.question.clone()).collect();
            let scene = Scene::of(client, &paths, network.as_ref()).await?.with_names(client, &questions).await?;
            suite.world = scene.world;
            (scene.policies, scene.now)
        }
    };
    let now = suite.now.unwrap_or(now);
    warn(&policies, Some(&suite.world), now, if live { Some(&paths) } else { None });
    let outcomes = suite.outcomes(&policies, now).map_err(PolicyFailure::Outcome)?;
    output.print(&outcomes, || told(&outcomes))?;
    Ok(if outcomes.iter().all(|outcome| outcome.holds) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn explain(client: &Client, output: Output, arguments: ExplainArguments) -> Result<(), Failure> {
    let asked = match &arguments.scene {
        scene if scene.is_live() => Asked::Daemon,
        SceneArguments { world: Some(_), .. } => Asked::File,
        _ => Asked::Nobody,
    };
    let no_question = |reason| PolicyFailure::Question { reason, asked };
    let mut question = Question::read(&arguments.from, &arguments.to).map_err(no_question)?;
    let mut networks = Vec::new();
    let scene = match asked {
        Asked::Daemon => {
            question = live::resolved(client, question).await?;
            networks = client.networks().await?;
            let SceneArguments { files, network, .. } = &arguments.scene;
            let scene = Scene::of(client, files, network.as_ref()).await?;
            warn(&scene.policies, Some(&scene.world), scene.now, Some(files));
            scene.with_names(client, std::slice::from_ref(&question)).await?
        }
        Asked::File | Asked::Nobody => of_files(&arguments.scene)?,
    };
    for doubt in doubts(&scene.policies, &question) {
        Failure::warn(&doubt);
    }
    let Scene { policies, world, now } = &scene;
    let mut barriers = BTreeSet::new();
    let explained = question.each_flow(world, |course| {
        let verdict = evaluate(policies, world, &course.judged, *now);
        barriers.extend(live::barrier(&networks, course, verdict.effect()));
        Explanation::new(course, &verdict)
    });
    let explanations = explained.map_err(no_question)?;
    output.print(&explanations, || explanations.iter().map(Explanation::to_string).collect())?;
    barriers.iter().for_each(|barrier| Failure::warn(barrier));
    Ok(())
}

async fn matrix(
    client: &Client,
    output: Output,
    MatrixArguments { scene: asked }: MatrixArguments,
) -> Result<(), Failure> {
    let scene = if asked.is_live() {
        let scene = Scene::of(client, &asked.files, asked.network.as_ref()).await?;
        warn(&scene.policies, Some(&scene.world), scene.now, Some(&asked.files));
        scene
    } else if asked.world.is_some() {
        of_files(&asked)?
    } else {
        return Err(PolicyFailure::NoWorld.into());
    };
    let matrix = Matrix::new(&scene.policies, &scene.world, scene.now);
    output.print_graph(&matrix, || matrix.to_string(), || matrix.dot())?;
    matrix.doubts().for_each(|doubt| Failure::warn(&format!("not certain: {doubt}")));
    if matrix.left_out() > 0 {
        Failure::warn(&format!("{} more kinds of endpoints are left out", matrix.left_out()));
    }
    Ok(())
}

/// What files alone say; without a file that says who there is, nobody is.
fn of_files(asked: &SceneArguments) -> Result<Scene, Failure> {
    let policies = policy_files::policies(&asked.files, asked.network.as_ref())?;
    let suite = asked.world.as_deref().map(policy_files::suite).transpose()?;
    let now = suite.as_ref().and_then(|suite| suite.now).unwrap_or_else(Timestamp::now);
    warn(&policies, suite.as_ref().map(|suite| &suite.world), now, None);
    Ok(Scene { policies, world: suite.map(|suite| suite.world).unwrap_or_default(), now })
}

/// Tells what is probably not meant, of all policies or of those in `files` only: of others it was told when they were
/// applied.
fn warn(policies: &Policies, world: Option<&World>, now: Timestamp, files: Option<&[PathBuf]>) {
    let is_given = |warning: &Warning| {
        files.is_none_or(|files| files.iter().any(|file| Path::new(&*warning.place.file).starts_with(file)))
    };
    for warning in warnings(policies, world, now).iter().filter(|warning| is_given(warning)) {
        Failure::warn(&warning.to_string());
    }
}

/// What is not as expected, and how much is.
fn told(outcomes: &[Outcome]) -> String {
    let mut text: String = outcomes.iter().map(Outcome::to_string).collect();
    let failed = outcomes.iter().filter(|outcome| !outcome.holds).count();
    let noun = if outcomes.len() == 1 { "expectation" } else { "expectations" };
    match failed {
        0 => text.push_str(&format!("{} {noun} met\n", outcomes.len())),
        _ => text.push_str(&format!("{failed} of {} {noun} not met\n", outcomes.len())),
    }
    text
}
