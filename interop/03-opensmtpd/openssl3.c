/*
 * OpenSMTPD 6.8 keeps its private keys in a process of their own and gives OpenSSL a public key whose operations ask
 * that process. Under OpenSSL 3 it changes a cached copy of the key that OpenSSL never looks at again, and every handshake
 * ends with "missing private key" (OpenSMTPD issue 1171, mended upstream in 7.3). Debian 12 ships that pair.
 *
 * Preloaded into it, this does what upstream's repair does: the changed copy becomes the key.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>

typedef struct key EVP_PKEY;
typedef struct rsa RSA;
typedef struct context SSL_CTX;

#define EVP_PKEY_RSA 6
extern RSA *EVP_PKEY_get1_RSA(EVP_PKEY *);
extern int EVP_PKEY_assign(EVP_PKEY *, int, void *);

int SSL_CTX_use_PrivateKey(SSL_CTX *context, EVP_PKEY *key)
{
    int (*use)(SSL_CTX *, EVP_PKEY *) = (int (*)(SSL_CTX *, EVP_PKEY *))dlsym(RTLD_NEXT, "SSL_CTX_use_PrivateKey");
    RSA *changed = EVP_PKEY_get1_RSA(key); /* a reference of our own, since assigning drops the key's */

    if (use == NULL || changed == NULL || !EVP_PKEY_assign(key, EVP_PKEY_RSA, changed))
        return 0;
    return use(context, key);
}
