internal import ArgumentParser
internal import Pleat

/// `pleat verify`: checks that a model is well formed, and faithful to its source.
struct Verify: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify",
    abstract: "Check that a model is well formed, and faithful to its source.",
    usage: "pleat verify <model> [--against <model>] [options]",
    discussion: """
      With adapters, every weight has to be the nearest that its type holds to the weight of the \
      reference with the adapters added, and no code may differ, unless a tolerance is given.

      Exit status: 0 when every check passes, 1 when one fails, 65 when the file cannot be read as \
      a model.

      Examples:
        pleat verify model.pleat
        pleat verify model.pleat --against model/ --tolerance 0.1
        pleat verify tuned.pleat --against base.pleat --adapter qa-lora/
      """)

  @Argument(help: "The model to check.", completion: .file())
  var model: String

  struct Checks: ParsableArguments {
    @Option(
      help: ArgumentHelp("Compare the weights with this reference.", valueName: "model"),
      completion: .file())
    var against: String?

    @Option(
      help: ArgumentHelp("Largest relative error to accept, per tensor.", valueName: "ratio"))
    var tolerance: Double?
  }

  @OptionGroup(title: "Checks")
  var checks: Checks

  @OptionGroup(title: "Adapters that the reference still needs")
  var folding: AdapterOptions

  @OptionGroup(title: "Console")
  var talk: ConsoleOptions

  func validate() throws {
    if !folding.adapters.isEmpty && checks.against == nil {
      throw ValidationError("--adapter needs --against")
    }
    if let tolerance = checks.tolerance {
      if checks.against == nil { throw ValidationError("--tolerance needs --against") }
      if !(tolerance >= 0) { throw ValidationError("--tolerance must not be negative") }
    }
  }

  func run() throws {
    let console = talk.console
    let opened = try Model.open(model)
    let reference = try checks.against.map { try Model.open($0) }
    let interruption = Interruption()
    let verification = try Verification(
      of: opened, against: reference,
      adapters: try reference.map { try folding.uses(in: $0) } ?? [],
      tolerance: checks.tolerance
    ) { (_) throws(ModelError) in
      if interruption.cancellation.isRequested {
        throw ModelError(.interrupted, "stopped on request")
      }
    }
    let text = VerificationText(verification, opened, console)
    console.print(text.lines, json: verification.json(of: opened))
    if !verification.holds { throw ExitStatus.negative }
  }
}
