internal import ArgumentParser
internal import Pleat

/// `pleat attach`: stores adapters beside a model without merging them.
struct Attach: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "attach",
    abstract: "Store adapters beside a model without merging them.",
    usage: "pleat attach <model> --adapter <path> ... -o <path> [options]",
    discussion: """
      A pleat file carries several adapters, each with a name by which 'pleat fold' finds it. For \
      other runtimes the adapter is written alone, in their own form: QA-LoRA becomes plain LoRA, \
      the same function without loss.

      Examples:
        pleat attach base.pleat --adapter qa-lora/ -o both.pleat
        pleat attach base.gguf --adapter qa-lora/ --to gguf -o adapter.gguf
        pleat attach model/ --adapter qa-lora/ --to peft -o plain-lora/
      """)

  @Argument(help: "The base model.", completion: .file())
  var model: String

  struct Attaching: ParsableArguments {
    @Option(
      help: ArgumentHelp(
        """
        The name of an adapter in the pleat file, once for each --adapter. (default: the last \
        part of its path)
        """, valueName: "name"))
    var name: [String] = []
  }

  struct Output: ParsableArguments {
    @OptionGroup
    var writing: WritingOptions

    @Option(
      help: ArgumentHelp(
        """
        What to write: pleat (the model with its adapters), \(Self.targets). (default: pleat)
        """, valueName: "format"),
      completion: .list(["pleat"] + AdapterExport.Target.allCases.map(\.rawValue)))
    var to: String?

    private static let targets = AdapterExport.Target.allCases
      .map { "\($0.rawValue) (\($0.summary))" }.joined(separator: ", ")
  }

  @OptionGroup(title: "Adapters")
  var adapters: AdapterOptions

  @OptionGroup(title: "Attaching")
  var attaching: Attaching

  @OptionGroup(title: "Output")
  var output: Output

  @OptionGroup(title: "Console")
  var talk: ConsoleOptions

  func validate() throws {
    if adapters.adapters.isEmpty { throw ValidationError("Missing expected '--adapter <path>'") }
    if !attaching.name.isEmpty && attaching.name.count != adapters.adapters.count {
      throw ValidationError("--name is given once for each --adapter")
    }
    guard let to = output.to, to != "pleat" else {
      if !adapters.scales.isEmpty {
        throw ValidationError("a pleat file keeps an adapter as it is: give --scale when folding")
      }
      return
    }
    let known = AdapterExport.Target.allCases.map(\.rawValue)
    if !known.contains(to) {
      throw ValidationError(
        "--to must be pleat, \(known.joined(separator: " or ")), found \(to)")
    }
    if adapters.adapters.count > 1 {
      throw ValidationError("--to \(to) writes one adapter: give one --adapter")
    }
    if !attaching.name.isEmpty { throw ValidationError("--name is for pleat files") }
    if output.writing.compress || output.writing.shard != nil || output.writing.threads != nil
      || output.writing.resume
    {
      throw ValidationError("--compress, --shard, --threads and --resume are for models")
    }
  }

  func run() throws {
    let base = try Model.open(model)
    let uses = try adapters.uses(in: base)
    if let target = output.to.flatMap(AdapterExport.Target.init(rawValue:)) {
      return try ExportJob(
        export: try AdapterExport(uses[0], of: base, for: target, to: output.writing.output),
        output: output.writing, console: talk.console)()
    }
    let names = attaching.name.isEmpty ? uses.map(\.file.name) : attaching.name
    let plan = try Plan.attaching(
      uses, names: names, to: base, at: output.writing.destination(.pleat))
    try WritingJob(verb: "attach", plan: plan, output: output.writing, console: talk.console)()
  }
}
