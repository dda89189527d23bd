package import TensorModel

/// The facts about a model on which the rules of mixes depend, besides its tensors.
package struct MixModel: Sendable, Hashable {
  /// llama.cpp's name of the architecture.
  package let architecture: String
  /// The number of layers, those that predict further tokens included.
  package let layerCount: Int
  /// The number of experts of a layer; 0 without experts.
  package let expertCount: Int
  /// The number of heads of queries that share one of keys in the first layer; 0 without heads.
  package let keySharing: Int
  /// Whether it is one of the models that llama.cpp calls 70B.
  package let isSeventyBillion: Bool

  /// Reads the facts from the metadata of a GGUF model.
  ///
  /// The metadata of a translated checkpoint has them, too. A pure mix needs none. Throws `malformed`
  /// if the number of layers is missing.
  package init(_ metadata: Metadata, ofPureMix isPure: Bool = false) throws(ModelError) {
    architecture = metadata["general.architecture"]?.text ?? ""
    let prefix = architecture + "."
    func number(_ key: String) -> Int? {
      metadata[prefix + key]?.firstInteger.flatMap { (0...Self.limit).contains($0) ? $0 : nil }
    }
    let stated = number("block_count") ?? (isPure ? 1 : 0)
    guard stated > 0 else {
      throw ModelError(
        .malformed, "the metadata does not state the number of layers",
        tensor: prefix + "block_count",
        expected: "a whole number above 0",
        found: number("block_count").map(String.init) ?? "nothing",
        hint: "--pure gives all tensors one type")
    }
    let layers = stated
    layerCount = Self.counted(layers, architecture, loops: number("num_loops"))
    expertCount = number("expert_count") ?? 0
    let heads = number("attention.head_count") ?? 0
    let keys = number("attention.head_count_kv") ?? heads
    keySharing = keys > 0 ? heads / keys : 0
    let depth = layers - (number("nextn_predict_layers") ?? 0)
    switch architecture {
    case "llama", "llama-embed":
      isSeventyBillion = depth == 80 && expertCount != 8 && heads != keys
    case "qwen2", "deci", "olmo": isSeventyBillion = depth == 80
    case "jais2": isSeventyBillion = depth == 68
    default: isSeventyBillion = false
    }
  }

  /// A number above this one is no number of layers, heads or experts.
  private static let limit = 1 << 20

  /// Whether metadata states the number of layers, which the rules of mixes need.
  package static func statesLayers(_ metadata: Metadata) -> Bool {
    metadata["general.architecture"]?.text.flatMap { metadata[$0 + ".block_count"] } != nil
  }

  /// The number of layers as llama.cpp counts them.
  private static func counted(_ layers: Int, _ architecture: String, loops: Int?) -> Int {
    switch architecture {
    // Its layers run several times, and each time counts.
    case "nanbeige": layers * max(1, loops ?? 1)
    // The router is a layer of its own.
    case "graniteswitch": layers + 1
    default: layers
    }
  }

  var isFalcon: Bool { architecture == "falcon" }
  var hasEightExperts: Bool { expertCount == 8 }
}

extension MetadataValue {
  /// An integer, or the first element of an array of integers; nil for other values.
  fileprivate var firstInteger: Int? {
    guard case .array(let list) = self else { return integer }
    guard list.count > 0, let width = list.elementType.byteCount, list.bytes.count >= width else {
      return nil
    }
    let bits = list.bytes[..<width].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    switch list.elementType {
    case .u8, .u16, .u32, .u64: return Int(exactly: bits)
    case .i8, .i16, .i32, .i64:
      let shift = 64 - 8 * width
      return Int(exactly: Int64(bitPattern: bits << shift) >> shift)
    case .f32, .f64, .bool, .string, .array: return nil
    }
  }
}
