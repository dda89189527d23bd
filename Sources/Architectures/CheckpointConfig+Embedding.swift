internal import Bytes

/// What configs of models that embed texts state besides.
extension CheckpointConfig {
  /// The function of the feed-forward network, and its key.
  var activation: (key: String, name: String) {
    guard architecture.hyperparameters.contains(.activation) else {
      return (architecture.traits.activation.key, architecture.traits.activation.name)
    }
    return ("hidden_activation", parameters.activation ?? "gelu")
  }

  /// The number of positions that a config states.
  ///
  /// It counts the rows for padding, if position embeddings begin with such rows.
  func positionCount(_ contents: Contents) -> Int {
    let skips = architecture.encoder?.hasRowsForPadding ?? false
    return parameters.contextLength + (skips ? (contents.paddingID ?? -1) + 1 : 0)
  }

  /// Token types, padding, and which tokens attention sees.
  func embeddingMembers(_ contents: Contents) -> [JSONValue.Member] {
    guard architecture.isEncoder else {
      let sees = architecture.traits.bidirectionalKinds == [true]
      return sees ? [.init("use_bidirectional_attention", true)] : []
    }
    var members: [JSONValue.Member] = []
    let trained = "max_trained_positions"
    for (key, count) in [
      ("type_vocab_size", contents.tokenTypeCount), ("pad_token_id", contents.paddingID),
      (trained, architecture.defaults[trained] == nil ? nil : parameters.contextLength),
    ] {
      if let count { members.append(.init(key, JSONValue(count))) }
    }
    return members
  }
}
