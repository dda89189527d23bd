internal import ArgumentParser
internal import Pleat

/// `pleat verify`: checks a model file, and compares its weights with a reference.
struct Verify: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify",
    abstract: "Check a model file, and compare its weights with a reference.",
    usage: "pleat verify <model> [--against <model>] [options]",
    discussion: """
      Checks the structure and the checksums of the file. With --against, also compares the \
      weights with a reference.

      With --adapter, the model must equal the reference with the adapters folded in. No code may \
      differ, and each weight must be the nearest value that its type can store. With --tolerance, \
      only the relative error of each tensor is checked instead.

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
      help: ArgumentHelp("The reference model to compare the weights with.", valueName: "model"),
      completion: .file())
    var against: String?

    @Option(
      help: ArgumentHelp(
        "Largest accepted relative error of a tensor. (default: none)", valueName: "ratio"))
    var tolerance: Double?
  }

  @OptionGroup(title: "Checks")
  var checks: Checks

  @OptionGroup(title: "Adapters to fold into the reference")
  var folding: AdapterOptions

  @OptionGroup(title: "Console")
  var consoleOptions: ConsoleOptions

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
    let console = consoleOptions.console
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
