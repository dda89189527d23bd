import Architectures
import Bytes
import Testing

/// The config of a text model inside a larger one.
@Suite struct TextConfigTests {
  @Test("sizes that a nested config leaves out are the defaults of transformers") func defaults() {
    let config: JSONValue = [
      "model_type": "llava", "text_config": ["model_type": "mistral", "num_hidden_layers": 5],
    ]
    let merged = TextConfig.merged(config)
    #expect(merged["num_hidden_layers"] == 5 && merged["hidden_size"] == 4096)
    #expect(merged["intermediate_size"] == 14_336 && merged["num_key_value_heads"] == 8)
    #expect(merged["max_position_embeddings"] == 131_072)
    #expect(merged["rms_norm_eps"]?.double == 1e-6)
  }

  @Test("a stated null stays, and so does a config that is not nested") func stated() {
    let inner: JSONValue = ["model_type": "qwen2", "num_key_value_heads": .null]
    #expect(TextConfig.merged(["text_config": inner])["num_key_value_heads"] == .null)
    #expect(TextConfig.merged(inner) == inner)
  }

  @Test("every model type that predicts tokens in llama.cpp has defaults") func complete() {
    // Others are no part of transformers, and so of no larger model there.
    let known = Architectures.decoders.filter { !$0.needsRemoteCode }
    for type in known.flatMap(\.modelTypes) {
      let merged = TextConfig.merged(["text_config": ["model_type": .string(type)]])
      #expect((merged["hidden_size"]?.int ?? 0) >= 1024, "\(type)")
    }
  }
}
