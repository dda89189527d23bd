internal import ArgumentParser
internal import Pleat

/// The options for adapters, shared by all commands that apply them.
struct AdapterOptions: ParsableArguments {
  @Option(
    name: .customLong("adapter"),
    help: ArgumentHelp(
      """
      Path of an adapter folder or file (PEFT, MLX or llama.cpp), or name of an adapter that the \
      model carries. Repeatable; adapters are applied in the given order.
      """, valueName: "path"),
    completion: .directory)
  var adapters: [String] = []

  @Option(
    name: .customLong("scale"), parsing: .unconditionalSingleValue,
    help: ArgumentHelp(
      """
      Factor for the adapter's own scale (alpha / rank). Give it once, or once for each \
      --adapter. -1 undoes a fold up to rounding. (default: 1)
      """, valueName: "factor"))
  var scales: [Double] = []

  @Option(
    help: ArgumentHelp(
      """
      How a QA-LoRA adapter pools the inputs of a group, if its files do not state it: \
      \(Self.poolings).
      """,
      valueName: "how"),
    completion: .list(Pooling.allCases.map(\.rawValue)))
  var pooling: String?

  private static let poolings = Pooling.allCases.map { "\($0.rawValue) (\($0.summary))" }
    .joined(separator: ", ")

  func validate() throws {
    if scales.count > 1 && scales.count != adapters.count {
      throw ValidationError("give --scale once, or once for each --adapter")
    }
    if adapters.isEmpty && (!scales.isEmpty || pooling != nil) {
      throw ValidationError("--scale and --pooling need --adapter")
    }
    if let scale = scales.first(where: { !$0.isFinite || $0 == 0 }) {
      throw ValidationError("--scale must be a number other than 0, found \(scale)")
    }
    if let pooling, Pooling(rawValue: pooling) == nil {
      throw ValidationError(
        "--pooling must be \(Pooling.allCases.map(\.rawValue).joined(separator: ", ")), "
          + "found \(pooling)")
    }
  }

  /// Opens the adapters; names of adapters that the model carries take precedence over paths.
  ///
  /// Throws what opening an adapter throws.
  func uses(in base: Model) throws(ModelError) -> [AppliedAdapter] {
    var uses: [AppliedAdapter] = []
    for (index, path) in adapters.enumerated() {
      let scale = scales.count > 1 ? scales[index] : scales.first ?? 1
      let opened: AdapterFile
      if let file = try AdapterFile(attached: path, in: base) {
        opened = file
      } else {
        opened = try AdapterFile.open(path)
      }
      uses.append(
        AppliedAdapter(
          opened, scale: scale,
          pooling: pooling.flatMap(Pooling.init(rawValue:))))
    }
    return uses
  }

  /// Opens all adapters that a model carries.
  ///
  /// Throws `usage` if it carries none, and what opening an adapter throws.
  static func all(in base: Model) throws(ModelError) -> [AppliedAdapter] {
    guard !base.attachedNames.isEmpty else {
      throw ModelError(
        .usage, "there is no adapter to fold", file: base.path,
        expected: "--adapter <path>, or a model that carries adapters")
    }
    var uses: [AppliedAdapter] = []
    for name in base.attachedNames {
      if let file = try AdapterFile(attached: name, in: base) { uses.append(AppliedAdapter(file)) }
    }
    return uses
  }
}
