internal import Bytes

extension Architecture {
  /// RoBERTa, which is BERT with positions that begin after that of padding.
  static let roberta = Architecture(
    ggufName: bert.ggufName, modelTypes: ["roberta"], className: "RobertaModel",
    interleavesRotaryRows: false, modelNames: bert.modelNames, layerNames: bert.layerNames,
    defaults: bert.defaults.overridden(by: ["pad_token_id": 1]), normEpsilon: bert.normEpsilon,
    hyperparameters: bert.hyperparameters, traits: bert.traits,
    encoder: EncoderTraits(
      outerWords: ["roberta"],
      unusedNames: [
        "embeddings.position_ids", "embeddings.token_type_ids", "pooler.", "lm_head.",
      ], hasRowsForPadding: true, hasPooler: true))
}
