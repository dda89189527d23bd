internal import ArgumentParser
internal import Pleat

/// `pleat metadata`: copies a model with changed metadata.
struct EditMetadata: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "metadata",
    abstract: "Copy a model with changed metadata, tensors unchanged.",
    usage: "pleat metadata <model> -o <path> [--set <key=value> ...] [options]",
    discussion: """
      The model is a GGUF file or set, a safetensors file, or a folder of these. Its tensors are \
      copied byte for byte. 'pleat inspect --metadata' lists the keys and their types.

      Examples:
        pleat metadata a.gguf --set general.name='Tiny LM' -o b.gguf
        pleat metadata a.gguf --set tokenizer.ggml.eos_token_id='</s>' -o b.gguf
        pleat metadata a.gguf --chat-template template.jinja -o b.gguf
        pleat metadata a.gguf --set my.key:u32=7 --remove general.url -o b.gguf -n
      """)

  @Argument(help: "The model to read.", completion: .file())
  var model: String

  struct Changes: ParsableArguments {
    @Option(
      help: ArgumentHelp(
        """
        Set a key. It keeps its type; a new one gets llama.cpp's type, or the one that \
        'key:type=value' names. The id of a token may be given as its text. Repeatable.
        """, valueName: "key=value"))
    var set: [String] = []

    @Option(help: ArgumentHelp("Remove a key. Repeatable.", valueName: "key"))
    var remove: [String] = []

    @Option(
      help: ArgumentHelp(
        """
        Replace the chat templates of a GGUF file by those in this file: Jinja text, or JSON such \
        as tokenizer_config.json.
        """, valueName: "path"),
      completion: .file())
    var chatTemplate: String?
  }

  struct Output: ParsableArguments {
    @Option(
      name: .shortAndLong,
      help: ArgumentHelp(
        """
        Path of the output; must differ from the input. A folder if the model is a folder of \
        safetensors files.
        """, valueName: "path"),
      completion: .file())
    var output: String

    @Flag(help: "Re-read and compare the output before it is renamed into place.")
    var verify = false

    @Flag(help: "Replace the output if it exists.")
    var force = false

    @Flag(
      name: [.customShort("n"), .long],
      help: "Print the changes and the expected size; write nothing.")
    var dryRun = false
  }

  @OptionGroup(title: "Changes")
  var changes: Changes

  @OptionGroup(title: "Output")
  var output: Output

  @OptionGroup(title: "Console")
  var consoleOptions: ConsoleOptions

  func validate() throws {
    if changes.set.isEmpty && changes.remove.isEmpty && changes.chatTemplate == nil {
      throw ValidationError("give a change: --set, --remove or --chat-template")
    }
  }

  func run() throws {
    let source = try Model.open(model)
    var edits = MetadataChanges(of: source)
    for assignment in changes.set { try edits.set(assignment) }
    for key in changes.remove { try edits.remove(key) }
    if let path = changes.chatTemplate { try edits.setChatTemplate(fromFile: path) }
    let copy = try MetadataCopy(of: source, with: edits, to: output.output)
    try write(copy, consoleOptions.console)
  }

  /// Writes the copy, or prints the changes for `--dry-run`.
  private func write(_ copy: MetadataCopy, _ console: Console) throws(ModelError) {
    for note in copy.notes { console.note(note) }
    let name = console.style.strong((copy.splitName ?? output.output).escaped)
    let text = MetadataChangesText(copy.changes, console)
    if output.dryRun {
      let line = "would write \(name)  \(Quantities.exactBytes(copy.byteCount))  \(text.count)"
      return console.print(text.lines + [line], json: copy.planJSON)
    }
    try Console.checkOutput()
    let start = ContinuousClock.now
    let interruption = Interruption()
    let line = ProgressLine("metadata", console)
    defer { line?.clear() }
    let size = try copy.write(
      replacing: output.force, verifying: output.verify,
      cancellation: interruption.cancellation
    ) { line?.update($0) }
    line?.clear()
    let seconds = (ContinuousClock.now - start) / .seconds(1)
    let parts = [
      "wrote \(name)", Quantities.bytes(size.byteCount), text.count,
      "in \(Quantities.seconds(seconds))",
    ]
    console.print(
      text.lines + [parts.joined(separator: "  ")]
        + (output.verify ? ["read back from the disk: equal"] : []),
      json: copy.resultJSON(path: output.output, size: size))
  }
}
