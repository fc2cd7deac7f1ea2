//! `fabric policy`: what files of policies say, without the daemon, and which are in force.

mod enforced;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use api::Client;
use jiff::Timestamp;
use policy::{Explanation, Matrix, Outcome, Question, doubts, evaluate, warnings};

use crate::{
    arguments::{ExplainArguments, MatrixArguments, PolicyCommand, TestArguments},
    failure::Failure,
    output::Output,
    policy_files::{self, PolicyFailure},
};

pub(super) async fn policy(client: &Client, output: Output, command: PolicyCommand) -> Result<ExitCode, Failure> {
    match command {
        PolicyCommand::Apply(arguments) => done(enforced::apply(client, output, arguments, false).await),
        PolicyCommand::Diff(arguments) => done(enforced::apply(client, output, arguments, true).await),
        PolicyCommand::Ls(arguments) => done(enforced::list(client, output, arguments).await),
        PolicyCommand::Inspect(names) => done(enforced::inspect(client, output, names).await),
        PolicyCommand::Rm(names) => done(enforced::remove(client, output, names).await),
        PolicyCommand::Test(arguments) => test(output, arguments),
        PolicyCommand::Explain(arguments) => done(explain(output, arguments)),
        PolicyCommand::Matrix(arguments) => done(matrix(output, arguments)),
    }
}

fn done(result: Result<(), Failure>) -> Result<ExitCode, Failure> {
    result.map(|()| ExitCode::SUCCESS)
}

fn test(output: Output, arguments: TestArguments) -> Result<ExitCode, Failure> {
    let suite = policy_files::suite(&arguments.file)?;
    if suite.expectations.is_empty() {
        return Err(PolicyFailure::NothingExpected(arguments.file).into());
    }
    // What a file names lies beside it.
    let beside = arguments.file.parent().unwrap_or(Path::new(""));
    let paths: Vec<PathBuf> = suite.policies.iter().map(|path| beside.join(path)).collect();
    let policies = policy_files::policies(&paths, arguments.network.as_ref())?;
    let now = suite.now.unwrap_or_else(Timestamp::now);
    for warning in warnings(&policies, Some(&suite.world), now) {
        Failure::warn(&warning.to_string());
    }
    let outcomes = suite.outcomes(&policies, now).map_err(PolicyFailure::Outcome)?;
    output.print(&outcomes, || told(&outcomes))?;
    Ok(if outcomes.iter().all(|outcome| outcome.holds) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn explain(output: Output, arguments: ExplainArguments) -> Result<(), Failure> {
    let policies = policy_files::policies(&arguments.files, arguments.network.as_ref())?;
    let suite = arguments.world.as_deref().map(policy_files::suite).transpose()?;
    let now = suite.as_ref().and_then(|suite| suite.now).unwrap_or_else(Timestamp::now);
    for warning in warnings(&policies, suite.as_ref().map(|suite| &suite.world), now) {
        Failure::warn(&warning.to_string());
    }
    let no_question = |reason| PolicyFailure::Question { reason, has_world: suite.is_some() };
    let question = Question::read(&arguments.from, &arguments.to).map_err(no_question)?;
    for doubt in doubts(&policies, &question) {
        Failure::warn(&doubt);
    }
    let world = suite.as_ref().map(|suite| suite.world.clone()).unwrap_or_default();
    let explanations = question
        .each_flow(&world, |flow| Explanation::new(flow, &evaluate(&policies, &world, flow, now)))
        .map_err(no_question)?;
    output.print(&explanations, || explanations.iter().map(Explanation::to_string).collect())
}

fn matrix(output: Output, arguments: MatrixArguments) -> Result<(), Failure> {
    let policies = policy_files::policies(&arguments.files, arguments.network.as_ref())?;
    let suite = policy_files::suite(&arguments.world)?;
    let now = suite.now.unwrap_or_else(Timestamp::now);
    for warning in warnings(&policies, Some(&suite.world), now) {
        Failure::warn(&warning.to_string());
    }
    let matrix = Matrix::new(&policies, &suite.world, now);
    output.print_graph(&matrix, || matrix.to_string(), || matrix.dot())
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
