internal import ArgumentParser
internal import Pleat

/// `pleat attach`: stores adapters beside a model without merging them.
struct Attach: PlanningCommand {
  static let configuration = CommandConfiguration(
    commandName: "attach",
    abstract: "Store adapters beside a model without merging them.",
    usage: "pleat attach <model> --adapter <path> ... -o <path> [options]",
    discussion: """
      --to pleat writes the model together with its adapters. 'pleat fold' finds each adapter by \
      its name. --to gguf and --to peft write one adapter without the model. A QA-LoRA adapter \
      becomes plain LoRA, which computes the same function.

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
        Name of the adapter in the pleat file. Give one for each --adapter. (default: the last \
        part of the adapter's path)
        """, valueName: "name"))
    var name: [String] = []
  }

  struct Output: ParsableArguments {
    @OptionGroup
    var writing: WritingOptions

    @Option(
      help: ArgumentHelp(
        """
        The format to write: pleat (the model with its adapters), \(Self.targets). (default: \
        pleat)
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
  var consoleOptions: ConsoleOptions

  func validate() throws {
    if adapters.adapters.isEmpty { throw ValidationError("Missing expected '--adapter <path>'") }
    if !attaching.name.isEmpty && attaching.name.count != adapters.adapters.count {
      throw ValidationError("give one --name for each --adapter")
    }
    guard let to = output.to, to != "pleat" else {
      if !adapters.scales.isEmpty {
        throw ValidationError(
          "--to pleat stores adapters unscaled: give --scale to 'pleat fold' instead")
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
    if !attaching.name.isEmpty { throw ValidationError("--name needs --to pleat") }
    if output.writing.compress || output.writing.shard != nil || output.writing.threads != nil
      || output.writing.resume || output.writing.part != nil || output.writing.parts != nil
    {
      throw ValidationError(
        "--compress, --shard, --threads, --resume, --part and --parts do not work with --to \(to)")
    }
  }

  func run() throws {
    guard let target = output.to.flatMap(AdapterExport.Target.init(rawValue:)) else {
      return try job(consoleOptions.console)()
    }
    let base = try Model.open(model)
    try ExportJob(
      export: try AdapterExport(
        try adapters.uses(in: base)[0], of: base, for: target, to: output.writing.output),
      output: output.writing, console: consoleOptions.console)()
  }

  func job(_ console: Console) throws -> WritingJob {
    let base = try Model.open(model)
    let uses = try adapters.uses(in: base)
    let names = attaching.name.isEmpty ? uses.map(\.file.name) : attaching.name
    let plan = try Plan.attaching(
      uses, names: names, to: base, at: output.writing.destination(.pleat))
    return WritingJob(verb: "attach", plan: plan, output: output.writing, console: console)
  }
}
