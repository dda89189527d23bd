internal import Bytes
package import TensorModel

/// The modules of a model of sentence-transformers, which `modules.json` lists.
///
/// The first one is the transformer itself. The next one usually pools the vectors of all tokens.
package struct SentenceModules: Sendable {
  /// What llama.cpp can do with the vectors of all tokens, with its numbers.
  enum Pooling: UInt32 {
    case mean = 1
    case first = 2
    case last = 3
  }

  static let fileName = "modules.json"
  private static let configName = "config.json"
  private static let settingsFile = "config_sentence_transformers.json"
  private static let transformerFile = "sentence_bert_config.json"
  private static let modePrefix = "pooling_mode_"

  /// The pooling; nil if there is none, or one that llama.cpp does not have.
  private(set) var pooling: Pooling?
  /// The layers that llama.cpp applies to the pooled vector, in this order.
  private(set) var denseLayers: [DenseLayer] = []
  /// Notes about what llama.cpp does not do.
  package private(set) var notes: [String] = []

  /// No modules.
  package init() {}

  /// Reads the modules of a model; none if it has no `modules.json`.
  ///
  /// Dense layers are read if `hasDense` says that llama.cpp applies them. Throws `malformed` for
  /// documents that are not JSON, what reading throws, and what reading dense layers throws.
  package init(_ companions: CompanionReader, hasDense: Bool = false) throws(ModelError) {
    guard let list = try companions.document(Self.fileName) else { return }
    var hasPooling = false
    for module in list.array ?? [] {
      switch Self.kind(of: module) {
      // The server of llama.cpp normalizes vectors that it pools.
      case "Transformer", "Normalize": break
      case "Pooling" where !hasPooling:
        hasPooling = true
        try readPooling(in: Self.folder(of: module) ?? "", companions)
      case "Dense" where hasDense && pooling != nil:
        denseLayers.append(try DenseLayer(Self.folder(of: module) ?? "", companions))
      case let kind:
        let name = Self.folder(of: module).map { "\($0) (\(kind))" } ?? kind
        notes.append("llama.cpp does not apply \(name), a module of sentence-transformers")
      }
    }
    if try companions.object(Self.transformerFile)["do_lower_case"]?.bool == true {
      notes.append(
        "llama.cpp makes letters lowercase only if the tokenizer does, whatever "
          + "\(Self.transformerFile) states")
    }
    let prompts = try companions.object(Self.settingsFile)["prompts"]?.members ?? []
    let names = prompts.filter { !($0.value.string ?? "").isEmpty }.map(\.key)
    if !names.isEmpty {
      notes.append(
        "llama.cpp does not know the prompts of \(Self.settingsFile): "
          + names.prefix(3).joined(separator: ", ") + (names.count > 3 ? " and others" : ""))
    }
  }

  /// The metadata of a llama.cpp model; empty without a pooling and dense layers.
  package func metadata(of architecture: String) -> Metadata {
    var metadata = Metadata()
    for (name, layer) in zip(DenseLayer.names, denseLayers) {
      metadata.append("\(architecture).\(name)_feat_in", .u32(UInt32(clamping: layer.inputCount)))
      metadata.append("\(architecture).\(name)_feat_out", .u32(UInt32(clamping: layer.outputCount)))
    }
    if let pooling { metadata.append("\(architecture).pooling_type", .u32(pooling.rawValue)) }
    return metadata
  }

  private mutating func readPooling(
    in folder: String, _ companions: CompanionReader
  ) throws(ModelError) {
    let name = "\(folder)/\(Self.configName)"
    let config = try companions.object(name)
    let modes = Self.modes(config)
    let known: [String: Pooling] = ["mean": .mean, "cls": .first, "lasttoken": .last]
    pooling = modes.count == 1 ? known[modes[0]] : nil
    guard pooling == nil else { return }
    notes.append(
      modes.isEmpty
        ? "\(name) states no pooling, so the output states none"
        : "llama.cpp does not have the pooling of \(name), so the output states none: "
          + modes.joined(separator: " and "))
  }

  /// The names of the poolings whose results are joined.
  private static func modes(_ config: JSONValue) -> [String] {
    // Older files have a flag for each pooling, such as `pooling_mode_mean_tokens`.
    let flags = (config.members ?? []).compactMap { member -> String? in
      guard member.key.hasPrefix(modePrefix), member.value.bool == true else { return nil }
      let mode = member.key.dropFirst(modePrefix.count)
      let suffix = ["_tokens", "_token"].first(where: mode.hasSuffix) ?? ""
      return String(mode.dropLast(suffix.count))
    }
    let stated = config["pooling_mode"]
    let named = stated?.string.map { [$0] } ?? (stated?.array ?? []).compactMap(\.string)
    return flags.isEmpty ? named : flags
  }

  // MARK: - The list

  /// The folders of the modules in a `modules.json`, without that of the transformer.
  static func folders(_ list: JSONValue) -> [String] {
    (list.array ?? []).compactMap(folder)
  }

  /// The folder of a module; nil if it is that of the model.
  private static func folder(of module: JSONValue) -> String? {
    guard var path = module["path"]?.string else { return nil }
    while path.hasSuffix("/") { path.removeLast() }
    return path.isEmpty || path == "." ? nil : path
  }

  /// The last part of the name of the type, such as `Pooling`.
  private static func kind(of module: JSONValue) -> String {
    let type = module["type"]?.string ?? ""
    return type.split(separator: ".").last.map(String.init) ?? "a module without a type"
  }
}
