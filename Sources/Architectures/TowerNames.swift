package import TensorModel

extension TensorNames {
  /// Whether a tensor belongs to a tower for pictures or sound.
  ///
  /// The projectors and merging layers between a tower and the text model count as towers too.
  package static func isTower(_ name: String) -> Bool { tower(of: name) != nil }

  /// The beginning of a name up to the word for a tower, such as `model.visual`.
  ///
  /// nil for tensors of the text model: no such word comes before the first word for layers.
  package static func tower(of name: String) -> Substring? {
    for word in name.split(separator: ".") {
      if layers.contains(word) { return nil }
      if isTowerWord(word) { return name[..<word.endIndex] }
    }
    return nil
  }

  /// Whether a name is that of a tower in a GGUF file of llama.cpp.
  fileprivate static func isGGUFTower(_ name: String) -> Bool {
    let words = name.split(separator: ".", maxSplits: 2)
    return words.count > 2 && ggufTowers.contains(words[0])
  }

  /// Whether a word is one for a tower, or begins with one before `_`.
  private static func isTowerWord(_ word: Substring) -> Bool {
    let word = word.lowercased()[...]
    if towers.contains(word) { return true }
    return word.indices.contains { word[$0] == "_" && isBeginning(word[..<$0]) }
  }

  private static func isBeginning(_ word: Substring) -> Bool {
    senses.contains(word) || towers.contains(word)
  }

  /// Words that stand before the number of a layer.
  private static let layers: Set<Substring> = ["layers", "layer", "h", "block", "blocks", "blk"]

  /// First words of the names of towers in GGUF files: vision, sound and projectors.
  private static let ggufTowers: Set<Substring> = ["v", "a", "mm", "resampler"]

  /// The beginnings of words for towers, before `_`.
  private static let senses: Set<Substring> = [
    "vision", "visual", "image", "img", "video", "audio", "speech", "sound",
  ]

  /// Words for towers, their projectors and merging layers, apart from those of `senses`.
  private static let towers: Set<Substring> = [
    // Towers.
    "vision", "visual", "audio", "speech", "vit", "vpm", "apm", "siglip2", "sam_model", "whisper",
    "conformer", "perception", "vte", "moonvit", "siglip", "vae", "time_embedder",
    "high_res_vision_model", "grounding_encoder", "patch_embed",
    // Between a tower and the text model.
    "multi_modal_projector", "multimodal_projector", "multimodal_embedder", "mm_projector",
    "mm_input_projection", "pre_mm_projector_norm", "vq_adaptor", "vision2text", "vae2llm",
    "llm2vae", "modality_projection", "language_projection",
    "projector", "layerwise_projectors", "spatial_projectors", "vit_large_projector",
    "linear_proj", "mlp1", "mlp_ar", "connector", "vl_connector", "aligner", "abstractor",
    "qformer", "query_tokens", "resampler", "resampler_model", "perceive", "perceiver_resampler",
    "merger", "vit_merger", "patch_merger", "patch_merge", "patch_merge_mlp",
    "deepstack_merger_list", "embed_vision", "embed_audio", "embed_image", "embed_tokens_extend",
    "view_separator", "view_seperator", "high_res_vision_neck", "high_res_vision_proj",
    "high_res_vision_alpha", "gated_cross_attn_layers", "text_hidden_fcs",
    // Encoders and decoders of sound.
    "acoustic_tokenizer", "acoustic_tokenizer_encoder", "acoustic_connector",
    "semantic_tokenizer", "semantic_tokenizer_encoder", "semantic_connector", "codec_model",
    "talker", "token2wav", "code2wav", "tts", "depth_decoder", "depthformer",
    "word_timestamp_encoder", "word_timestamp_head", "ctc_timestamp",
    // Parts that make pictures, sound or movements.
    "vqmodel", "generation_embeddings", "generation_aligner", "generation_head",
    "gen_vision_model", "gen_aligner", "gen_head", "gen_embed", "prediction_head",
    "diffusion_head", "flow_head", "dit", "action_in_proj", "action_out_proj",
    "action_time_mlp_in", "action_time_mlp_out", "embed_action_time", "state_proj",
  ]
}

/// Tells the towers of a model from its text model.
package struct Towers: Sendable {
  private let isGGUF: Bool
  private let isProjector: Bool
  /// Whether the text model has a word of its own, so that `encoder` belongs to a tower.
  private let hasLanguageModel: Bool

  private static let languageModels = [
    "language_model.", "model.language_model.", "model.layers.",
  ]
  private static let encoders = ["encoder.", "model.encoder.", "adapter."]

  /// Finds out how the tensors of a model are named.
  package init(_ catalog: Catalog) {
    isGGUF = catalog.metadata["general.architecture"] != nil
    isProjector = catalog.kind == .projector
    hasLanguageModel = catalog.tensors.contains { tensor in
      Self.languageModels.contains { tensor.name.hasPrefix($0) }
    }
  }

  /// Whether a tensor belongs to a tower, a projector or a merging layer.
  package func contains(_ name: String) -> Bool {
    isProjector || TensorNames.isTower(name) || isGGUF && TensorNames.isGGUFTower(name)
      || hasLanguageModel && Self.encoders.contains { name.hasPrefix($0) }
  }
}
