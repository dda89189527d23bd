internal import ArgumentParser
internal import Pleat

/// The options about adapters that are folded in, the same for every command that does.
struct AdapterOptions: ParsableArguments {
  @Option(
    name: .customLong("adapter"),
    help: ArgumentHelp(
      """
      Adapter folder or file (PEFT, MLX, llama.cpp), or the name of one in the model. Repeatable, \
      applied in order.
      """, valueName: "path"),
    completion: .directory)
  var adapters: [String] = []

  @Option(
    name: .customLong("scale"), parsing: .unconditionalSingleValue,
    help: ArgumentHelp(
      """
      Strength: multiplies the adapter's own alpha / rank; once for all adapters, or once for \
      each. -1 takes a fold back. (default: 1)
      """, valueName: "factor"))
  var scales: [Double] = []

  @Option(
    help: ArgumentHelp(
      "How the inputs of groups were pooled, where the adapter does not tell: \(Self.poolings).",
      valueName: "how"),
    completion: .list(Pooling.allCases.map(\.rawValue)))
  var pooling: String?

  private static let poolings = Pooling.allCases.map { "\($0.rawValue) (\($0.summary))" }
    .joined(separator: ", ")

  func validate() throws {
    if scales.count > 1 && scales.count != adapters.count {
      throw ValidationError("--scale is given once, or once for each --adapter")
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

  /// The adapters, opened; a name of one that the model carries comes before a path.
  ///
  /// Throws what opening throws.
  func uses(in base: Model) throws(ModelError) -> [AdapterUse] {
    var uses: [AdapterUse] = []
    for (index, path) in adapters.enumerated() {
      let scale = scales.count > 1 ? scales[index] : scales.first ?? 1
      let opened: AdapterFile
      if let file = try AdapterFile(attached: path, in: base) {
        opened = file
      } else {
        opened = try AdapterFile.open(path)
      }
      uses.append(
        AdapterUse(
          opened, scale: scale,
          pooling: pooling.flatMap(Pooling.init(rawValue:))))
    }
    return uses
  }

  /// The adapters that a model carries.
  ///
  /// Throws `usage` when it carries none, and what opening throws.
  static func all(in base: Model) throws(ModelError) -> [AdapterUse] {
    guard !base.attachedNames.isEmpty else {
      throw ModelError(
        .usage, "there is no adapter to fold", file: base.path,
        expected: "--adapter <path>, or a model that carries adapters")
    }
    var uses: [AdapterUse] = []
    for name in base.attachedNames {
      if let file = try AdapterFile(attached: name, in: base) { uses.append(AdapterUse(file)) }
    }
    return uses
  }
}
