internal import Bytes
internal import TensorModel

extension VariedLayers {
  /// The key of a config for the width of the inputs that each layer has.
  static let inputWidthKey = "hidden_size_per_layer_input"
}

extension VariedLayerSizes {
  /// Reads the sizes that the metadata of a GGUF file states.
  ///
  /// `headSize` is that of layers with sliding attention. `tensors` show whether keys are also values.
  /// Throws `malformed` for values that are missing or invalid.
  init(
    _ values: GGUFValues, _ layers: VariedLayers, layerCount: Int, headSize: Int,
    _ tensors: [TensorInfo]
  ) throws(ModelError) {
    let sliding = values.flags("attention.sliding_window_pattern") ?? []
    guard sliding.count == layerCount else {
      throw values.fault("attention.sliding_window_pattern", "a flag for each layer")
    }
    slidingLayers = sliding
    sharedCount = min(max(values.wholeNumber("attention.shared_kv_layers") ?? 0, 0), layerCount - 1)
    inputWidth = max(values.wholeNumber("embedding_length_per_layer_input") ?? 0, 0)
    keepsAllKeys = layers.keepsAllKeys
    let widths = values.numbers("feed_forward_length") ?? []
    listsWidths = layers.listsWidths && !widths.isEmpty
    doublesSharedWidth =
      !layers.listsWidths && widths.count == layerCount && widths[layerCount - 1] != widths[0]
    guard layers.hasFullHeads else {
      (fullHeadSize, fullKeyValueHeadCount, usesKeysAsValues) = (headSize, nil, false)
      return
    }
    fullHeadSize = try values.required("attention.key_length")
    let counts = values.numbers("attention.head_count_kv") ?? []
    let full = sliding.firstIndex(of: false)
    let own = sliding.firstIndex(of: true) ?? 0
    fullKeyValueHeadCount = full.flatMap { layer in
      let isOther = counts.count == layerCount && counts[layer] != counts[own]
      return isOther && counts[layer] > 0 ? counts[layer] : nil
    }
    let names = Set(tensors.map(\.name))
    usesKeysAsValues =
      full.map { layer in
        names.contains("blk.\(layer).attn_k.weight")
          && !names.contains("blk.\(layer).attn_v.weight")
      } ?? false
  }
}

extension CheckpointConfig {
  /// What a config states about layers that differ, in a file with so many tokens.
  func variedMembers(tokenCount: Int) -> [JSONValue.Member] {
    guard let varied = parameters.sizes.varied, let layers = architecture.variedLayers else {
      return []
    }
    var members: [JSONValue.Member] = [
      .init("sliding_window", parameters.slidingWindow.map { JSONValue($0) } ?? .null),
      .init(
        "layer_types",
        .array(varied.slidingLayers.map { $0 ? "sliding_attention" : "full_attention" })),
      .init("num_kv_shared_layers", JSONValue(varied.sharedCount)),
      .init(VariedLayers.inputWidthKey, JSONValue(varied.inputWidth)),
      .init("vocab_size_per_layer_input", JSONValue(tokenCount)),
    ]
    if layers.hasFullHeads {
      members += [
        .init("global_head_dim", JSONValue(varied.fullHeadSize)),
        .init("attention_k_eq_v", .bool(varied.usesKeysAsValues)),
        .init("use_double_wide_mlp", .bool(varied.doublesSharedWidth)),
      ]
      if varied.usesKeysAsValues {
        let count = varied.fullKeyValueHeadCount ?? parameters.keyValueHeadCount
        members.append(.init("num_global_key_value_heads", JSONValue(count)))
      }
    }
    return members
  }
}
