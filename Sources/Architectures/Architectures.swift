package import Bytes

/// The architectures that Pleat knows; every list of architectures is derived from this one.
package enum Architectures {
  /// Every architecture; of those with the same name in GGUF, the most general one comes first.
  package static let all: [Architecture] = [
    .llama, .mistral, .mixtral, .qwen2, .qwen3, .gemma, .gemma2, .gemma3, .phi3, .qwen2MoE,
    .qwen3MoE, .olmoe, .olmo2, .olmo3, .smolLM3, .seedOSS, .granite, .arcee,
    .starCoder2, .glm4, .exaone4, .ernie45, .nemotron, .cohere, .cohere2,
    .miniMaxM2, .graniteMoE, .dots1, .ernie45MoE,
    .qwen2VL, .qwen3VL, .phi, .stableLM, .hunYuanDense, .glm4MoE, .gptOSS, .deepSeekV2,
    .deepSeekV3, .glm4MoELite, .qwen35, .qwen35MoE, .qwen3Next,
    .bert, .roberta, .xlmRoBERTa, .distilBERT, .nomicBERT, .modernBERT,
    .ministral3, .olmo, .internLM3, .solarOpen, .exaoneMoE, .afmoe, .glm, .graniteMoEShared,
    .graniteMoEHybrid, .mellum, .apertus, .jais2, .gemma4, .gemma4Unified, .gemma3n, .lfm2,
    .lfm2MoE, .hunYuanMoE, .hyV3, .cohere2MoE, .laguna, .qwen3VLMoE, .llama4,
    .falconH1, .nemotronH, .mamba2, .bailingMoE,
  ]

  /// Architectures that share a `model_type` with one of these, and that the config alone tells
  /// apart.
  package static let variants: [Architecture] = [
    .gemmaEmbedding, .graniteStates, .graniteStatesAndExperts, .nemotronHMoE, .bailingMoE2,
    .qwen2VLText, .qwen3VLText, .qwen3VLMoEText,
  ]

  /// All of these.
  package static let withVariants = all + variants

  /// The architectures whose models predict tokens.
  package static let decoders = all.filter { !$0.isEncoder }

  /// The first architecture with a `general.architecture`; nil if Pleat knows none.
  package static func named(_ generalArchitecture: String) -> Architecture? {
    withVariants.first { $0.ggufName == generalArchitecture }
  }

  /// The architecture of a model with a config; nil if Pleat knows none.
  package static func forConfig(_ config: JSONValue) -> Architecture? {
    guard let type = config["model_type"]?.string else { return nil }
    let variant = variants.first {
      $0.modelTypes.contains(type) && $0.isMeant?(config) ?? false
    }
    return variant ?? forModelType(type)
  }

  /// The architecture with a `model_type`, a variant apart; nil if Pleat knows none.
  package static func forModelType(_ modelType: String) -> Architecture? {
    all.first { $0.modelTypes.contains(modelType) }
  }
}
