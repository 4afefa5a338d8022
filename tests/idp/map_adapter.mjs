// The storage that oidc-provider asks for, over one Map that all its models share. The adapter that comes with
// it is an LRU of 1,000: a test that holds 10,000 tokens would see live ones go.

export const memory = new Map();

/** refreshGrace: for so many seconds a refresh token that was rotated counts as one that was not. */
export const settings = { refreshGrace: 0 };

export class MapAdapter {
  constructor(model) {
    this.model = model;
  }

  #key(id) {
    return `${this.model}:${id}`;
  }

  #findBy(field, value) {
    return [...memory.values()].find((p) => p.kind === this.model && p[field] === value);
  }

  async upsert(id, payload) {
    memory.set(this.#key(id), payload);
  }

  async find(id) {
    const payload = memory.get(this.#key(id));
    const { consumed } = payload ?? {};
    if (this.model !== 'RefreshToken' || !consumed) return payload;
    const isInGrace = Date.now() / 1000 - consumed < settings.refreshGrace;
    return isInGrace ? { ...payload, consumed: undefined } : payload;
  }

  async findByUid(uid) {
    return this.#findBy('uid', uid);
  }

  async findByUserCode(userCode) {
    return this.#findBy('userCode', userCode);
  }

  async consume(id) {
    memory.get(this.#key(id)).consumed = Math.floor(Date.now() / 1000);
  }

  async destroy(id) {
    memory.delete(this.#key(id));
  }

  async revokeByGrantId(grantId) {
    for (const [key, payload] of memory) {
      if (payload.grantId === grantId) memory.delete(key);
    }
  }
}
