extension Architecture {
  /// XLM-RoBERTa, which is RoBERTa with a vocabulary for many languages.
  static let xlmRoBERTa = Architecture(
    ggufName: roberta.ggufName, modelTypes: ["xlm-roberta"], className: "XLMRobertaModel",
    interleavesRotaryRows: false, modelNames: roberta.modelNames, layerNames: roberta.layerNames,
    defaults: roberta.defaults, normEpsilon: roberta.normEpsilon,
    hyperparameters: roberta.hyperparameters, traits: roberta.traits, encoder: roberta.encoder)
}
